"""What every JSON document is made of."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict

VERSION = "version of this schema"
UNIT = "that the study declared for this metric; null: none"
NEXT = "commands to run next, the first one first; empty where nothing is left to do"


class Part(BaseModel):
    """A JSON object: closed, and its keys are the fields' aliases."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    @classmethod
    def like(cls, source: object, **given: Any) -> Self:
        """The JSON object of ``source``: its attributes of the fields' names, but for those fields that are given."""
        same = [name for name in cls.model_fields if name not in given and hasattr(source, name)]
        return cls(**{name: getattr(source, name) for name in same}, **given)


def written(document: Part) -> str:
    """The document as text, indented, without a newline at its end."""
    return document.model_dump_json(by_alias=True, indent=2)
