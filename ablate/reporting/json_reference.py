"""The reference of every JSON document: its fields with their meaning, and the JSON schema, made from the models.

``python -m ablate.reporting.json_reference`` prints it; docs/json.md ends with it, and a test holds the two alike.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from ablate.reporting import json_output as judged
from ablate.reporting import json_plans as planned
from ablate.reporting import json_stability as stable

DOCUMENTS: tuple[type[BaseModel], ...] = (
    judged.JudgementJson,
    planned.PlanJson,
    planned.ListJson,
    planned.CheckJson,
)
PARTS: tuple[type[BaseModel], ...] = (
    judged.VerdictJson,
    judged.ContrastJson,
    stable.PooledJson,
    judged.CoPrimaryJson,
    judged.SeedGainJson,
    judged.EffectJson,
    stable.StabilityJson,
    stable.TermJson,
    stable.LevelJson,
    stable.InteractionJson,
    judged.FailureRateJson,
    judged.RegistrationJson,
    planned.PlannedArmJson,
    planned.ChangeJson,
    planned.DataJson,
    planned.PowerJson,
    planned.ListedJson,
    planned.FaultJson,
)


def json_schema() -> dict[str, Any]:
    """The JSON schema of every document, as it is written out: one of the four, told apart by ``document``."""
    _, made = models_json_schema([(model, "serialization") for model in DOCUMENTS], by_alias=True)
    choices = [{"$ref": f"#/$defs/{model.__name__}"} for model in DOCUMENTS]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "oneOf": choices, **made}


def reference() -> str:
    """Every field with its type and meaning, and the schema itself, as markdown."""
    return "\n".join([*_tables(), "## JSON schema", "", "```json", json.dumps(json_schema(), indent=1), "```", ""])


def _tables() -> Iterator[str]:
    for model in (*DOCUMENTS, *PARTS):
        name = model.__name__.removesuffix("Json").lower()
        yield from (f"### {name}", "", f"{(model.__doc__ or '').strip()}", "")
        yield from ("| key | type | meaning |", "| --- | --- | --- |")
        for key, field in _properties(model).items():
            yield f"| `{key}` | {_kind(field)} | {field['description']} |"
        yield ""


def _properties(model: type[BaseModel]) -> dict[str, Any]:
    schema = model.model_json_schema(by_alias=True, mode="serialization")
    own = schema if "properties" in schema else schema["$defs"][model.__name__]  # a model that refers to itself
    return dict(own["properties"])


def _kind(field: dict[str, Any]) -> str:
    if "anyOf" in field:
        return " or ".join(_kind(one) for one in field["anyOf"])
    if "$ref" in field:
        return str(field["$ref"].rsplit("/")[-1].removesuffix("Json").lower())
    if "enum" in field:
        return ", ".join(json.dumps(one) for one in field["enum"])
    if "const" in field:
        return json.dumps(field["const"])
    if "type" not in field:
        return "any value"
    if isinstance(field.get("additionalProperties"), dict):
        return f"object: text to {_kind(field['additionalProperties'])}"
    if field["type"] == "array":
        return f"list of {_kind(field['items'])}"
    kind = str(field["type"])
    return {"integer": "whole number", "boolean": "true, false", "string": "text"}.get(kind, kind)


if __name__ == "__main__":
    sys.stdout.write(reference())
