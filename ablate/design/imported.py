"""A user's function, named by its import path, that makes the net of an arm in place of one of our nets.

It is named, compared, planned and reported here without being imported; workers import it (training/user_code.py).
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from ablate.design.source import SourceError, bound_names, digest_of, find, keywords_of, parsed
from ablate.design.study import Level
from ablate.errors import SpecError, nearest
from ablate.formats import refuse_unknown
from ablate.model.spec import BlockSpec, Change, NetSpec, diff

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
PATTERN = rf"^{_NAME}(\.{_NAME})*:{_NAME}$"
BLOCK_ARGUMENTS = ("in_channels", "out_channels", "stride")  # that the class of a block must take
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
        known = _keywords(self.module, self.function) if changes else None
        for name in changes:
            if known is not None and name not in known:
                allowed = ", ".join(known) or "none"
                raise SpecError(name, f"is not a keyword of {self.path}{nearest(name, known)} (it takes: {allowed})")
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


def needs_import(model: Model) -> bool:
    """Whether a net, or a block of it, is of the user's own, so that nothing counts it without importing it."""
    return not isinstance(model, NetSpec) or model.has_own_block


def moved(model: Model, changes: Mapping[str, Any]) -> Model:
    """The net with ``changes``, and with the digest of the source of its own blocks.

    Raises:
        SpecError: an unknown name, a value that is not allowed, or an import path that leads nowhere.
    """
    return with_source(model.with_changes(dict(changes)))


def with_source(model: Model) -> Model:
    """The net with the digest of its own blocks' source, read from disk.

    Raises:
        SpecError: of the field ``residual``, where an import path leads nowhere or the class lacks an argument.
    """
    if not isinstance(model, NetSpec):
        return model
    stages = tuple(replace(stage, block=_block_with_source(stage.block)) for stage in model.stages)
    return replace(model, stages=stages)


def _block_with_source(block: BlockSpec) -> BlockSpec:
    if not block.is_own:
        return replace(block, source="", place="")
    found = own_block(block.residual)
    known = _keywords(found.module, found.function)
    missing = [name for name in BLOCK_ARGUMENTS if known is not None and name not in known]
    if missing:
        raise SpecError(
            "residual", f"= {block.residual!r} must take {', '.join(missing)} (it takes: {', '.join(known or ())})"
        )
    return replace(block, source=found.digest, place=found.place)


def own_block(path: str) -> Imported:
    """The class at the import path of a block, found and read but not imported.

    Raises:
        SpecError: of the field ``residual``, where the path leads nowhere.
    """
    try:
        return imported(path)
    except SpecError as error:
        raise SpecError("residual", error.message.replace("leads to no function", "leads to no class")) from error


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


def _keywords(module: str, function: str) -> tuple[str, ...] | None:
    try:
        found = find(module)
        return keywords_of(parsed(found.file), function) if found.file is not None else None
    except SourceError:
        return None


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
