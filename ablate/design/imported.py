"""A user's function, named by its import path, that makes the net of an arm in place of one of our nets.

It is named, compared, planned and reported here without being imported; workers import it (training/user_code.py).
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from ablate.design.source import Parameters, SourceError, bound_names, digest_of, find, parameters_of, parsed
from ablate.design.study import Level
from ablate.errors import SpecError, nearest
from ablate.formats import refuse_unknown
from ablate.model.spec import Change, NetSpec, diff

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
PATTERN = rf"^{_NAME}(\.{_NAME})*:{_NAME}$"
CHANNEL_NAMES = ("in_channels", "in_chans")  # keywords that the data decide; the second one is timm's
CLASS_NAMES = ("num_classes",)
_RULE = "must be written PACKAGE.MODULE:FUNCTION"


def is_path(name: object) -> bool:
    """Whether a value of a study is meant as an import path: a text with a colon."""
    return isinstance(name, str) and ":" in name


@dataclass(frozen=True, kw_only=True)
class Imported:
    """A function by its import path, and the keywords that it is called with.

    Attributes:
        path: ``my_package.nets:make_net``.
        keywords: name and value, sorted by name.
        digest: 16 hex digits over its source, so that edited code is another trial; "" where there is no source.
        place: the folder that a module of the user's own was found in; "" for an installed one. It decides no result.
    """

    path: str
    keywords: tuple[tuple[str, Level], ...] = ()
    digest: str = ""
    place: str = field(default="", compare=False)

    @property
    def module(self) -> str:
        """``my_package.nets``."""
        return self.path.partition(":")[0]

    @property
    def function(self) -> str:
        """``make_net``."""
        return self.path.partition(":")[2]

    def with_changes(self, changes: Mapping[str, Any]) -> Self:
        """The same function with keywords changed or added.

        Raises:
            SpecError: a name that can be no keyword, or that the function's source shows it not to take.
        """
        for name, value in changes.items():
            if not name.isidentifier() or keyword.iskeyword(name):
                raise SpecError(name, f"cannot be a keyword of {self.path}: it is no name in Python")
            if not isinstance(value, str | int | float | bool):
                raise SpecError(name, f"must be text, a number, true or false, got {value!r}")
        taken = parameters(self) if changes else None
        for name in changes:
            if taken is not None and not taken.any_name and name not in taken.names:
                told = f"{nearest(name, taken.names)} (it takes: {', '.join(taken.names) or 'none'})"
                raise SpecError(name, f"is not a keyword of {self.path}{told}")
        merged = {**dict(self.keywords), **changes}
        return replace(self, keywords=tuple(sorted(merged.items())))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {"path": self.path, "keywords": dict(self.keywords), "digest": self.digest}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any], what: str = "net") -> Self:
        """The inverse of ``to_dict``; the source is not looked at.

        Raises:
            AblateError: a field that only a newer version knows; the message says of ``what``.
        """
        refuse_unknown(set(plain) - {"path", "keywords", "digest"}, cls.__name__, what)
        keywords = tuple(sorted(plain.get("keywords", {}).items()))
        return cls(path=plain["path"], keywords=keywords, digest=plain.get("digest", ""))


Model = NetSpec | Imported  # what an arm trains


def imported(path: str, keywords: Mapping[str, Level] | None = None) -> Imported:
    """The function at an import path, found and read but not imported.

    Args:
        path: ``my_package.nets:make_net``; looked for in ``sys.path``, the current directory and the study's folder.
        keywords: that it is called with.

    Raises:
        SpecError: of the field ``net``, where the path leads nowhere; else of a keyword.

    Example:
        >>> imported("torchvision.models:resnet18", {"norm": "batch"}).function
        'resnet18'
    """
    if not re.fullmatch(PATTERN, path):
        raise SpecError("net", f"{_RULE}, such as torchvision.models:resnet18, got {path!r}")
    module, _, function = path.partition(":")
    try:
        found = find(module)
        if found.file is not None:
            _check_function(found.file, function)
        place = "" if found.installed else str(found.place)
        made = Imported(path=path, digest=digest_of(found), place=place)
    except SourceError as error:
        raise SpecError("net", f"= {path!r} leads to no function: {error}") from error
    return made.with_changes(keywords or {})


def _check_function(file: Any, function: str) -> None:
    there = bound_names(parsed(file))
    if there is not None and function not in there:
        raise SourceError(f"{file} has no {function!r}{nearest(function, there)}")


def parameters(function: Imported) -> Parameters | None:
    """What a function can be called with, read from its source; None where that does not show."""
    try:
        found = find(function.module)
        return parameters_of(parsed(found.file), function.function) if found.file is not None else None
    except SourceError:
        return None


def lacking(model: Model) -> tuple[str, ...]:
    """The keywords that an imported net cannot be made without, and that neither the study nor the data give."""
    if not isinstance(model, Imported) or (taken := parameters(model)) is None:
        return ()
    given = {*dict(model.keywords), *CHANNEL_NAMES, *CLASS_NAMES}
    return tuple(name for name in taken.required if name not in given)


def model_from_dict(plain: Mapping[str, Any], what: str = "net") -> Model:
    """A net of ours or an imported one, from what its ``to_dict`` gave."""
    return Imported.from_dict(plain, what) if "path" in plain else NetSpec.from_dict(dict(plain), what)


def changes_between(before: Model, after: Model) -> tuple[Change, ...]:
    """What changed between two nets; of two imported ones a Change a keyword, "" where it is not written."""
    if isinstance(before, NetSpec) and isinstance(after, NetSpec):
        return diff(before, after)
    if not (isinstance(before, Imported) and isinstance(after, Imported)):
        return (Change("net", _called(before), _called(after)),)
    paths = () if before.path == after.path else (Change("net", before.path, after.path),)
    old, new = dict(before.keywords), dict(after.keywords)
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    return (*paths, *(Change(name, old.get(name, ""), new.get(name, "")) for name in names))


def _called(model: Model) -> str:
    return model.path if isinstance(model, Imported) else "a net of ablate"
