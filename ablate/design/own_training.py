"""Training of the user's own: a function or a command line that an arm's trials call, in place of our nets and loop.

It is planned and reported here without being imported or run; workers do that (training/own.py).
"""

from __future__ import annotations

import hashlib
import itertools
import re
import shlex
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from ablate.design.imported import PATTERN, Imported
from ablate.design.source import Module, SourceError, bound_names, digest_of, find, parsed, places, required_of
from ablate.design.study import Level, Study
from ablate.design.validation import FieldError, FieldsError
from ablate.errors import SpecError, nearest
from ablate.formats import refuse_unknown

GIVEN = ("seed", "out", "folder", "device", "threads", "arm", "phase")  # what a command is told besides its fields
PYTHON = ("python", "python3")  # in a command: the Python that runs this package
PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SCRIPTS = (".py", ".sh", ".bash", ".r", ".jl", ".pl", ".lua", ".js", ".m")


@dataclass(frozen=True, kw_only=True)
class OwnTraining(Imported):
    """What trains an arm; ``keywords`` are the arm's fields.

    Attributes:
        path: of a function, ``my_package.train:train``; empty with a command.
        command: the words of a command line, with placeholders.
        digest: over the source of the function's module, or over the files that the command names.
    """

    path: str = ""
    command: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """``my_package.train:train``, or the command line."""
        return self.path or shlex.join(self.command)

    def with_changes(self, changes: Mapping[str, Any]) -> Self:
        """The same training with fields of ``[control]`` changed.

        Raises:
            SpecError: a field that ``[control]`` does not have.
        """
        fields = dict(self.keywords)
        for name, value in changes.items():
            if name not in fields:
                there = ", ".join(fields) or "no field"
                raise SpecError(name, f"is not a field of [control]{nearest(name, fields)} (it has: {there})")
            if not isinstance(value, str | int | float | bool):
                raise SpecError(name, f"must be text, a number, true or false, got {value!r}")
        return replace(self, keywords=tuple(sorted({**fields, **changes}.items())))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return super().to_dict() | {"command": list(self.command)}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any], what: str = "training") -> Self:
        """The inverse of ``to_dict``; neither source nor files are looked at.

        Raises:
            AblateError: a field that only a newer version knows; the message says of ``what``.
        """
        refuse_unknown(set(plain) - {"path", "keywords", "digest", "command"}, cls.__name__, what)
        keywords = tuple(sorted(plain["keywords"].items()))
        return cls(path=plain["path"], keywords=keywords, digest=plain["digest"], command=tuple(plain["command"]))

    def words(self, given: Mapping[str, object]) -> list[str]:
        """The command line of one trial: fields and what is ``given`` filled in, files and Python found."""
        values = {**dict(self.keywords), **given}

        def fill(word: str) -> str:
            return PLACEHOLDER.sub(lambda found: written(values.get(found[1], found[0])), word)

        import sys

        program, *rest = self.command
        first = sys.executable if program in PYTHON else str(named_file(program) or program)
        return [first, *(str(named_file(word) or fill(word)) for word in rest)]


def written(value: object) -> str:
    """A field as a command line says it: ``true`` and ``false`` as in a study file."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def named_file(word: str) -> Path | None:
    """The file that a word of a command names, in the current directory or in the study file's folder; or None."""
    if PLACEHOLDER.search(word) or not word or word.startswith("-") or "\0" in word:
        return None
    found = (place / word for place in places())
    return next((file for file in found if file.is_file()), None)


def own_training_of(study: Study) -> OwnTraining:
    """What trains a study's control.

    Raises:
        FieldsError: everything that is wrong with ``trainer``, ``command``, ``[control]``, and with tables that only
            this package's own training reads.
    """
    errors = [*_unread(study), *_bad_fields(study)]
    digest = ""
    try:
        if study.trainer:
            digest = _trainer_digest(study.trainer)
        else:
            errors += _bad_placeholders(study)
            digest = _command_digest(study.command)
    except SourceError as error:
        errors.append(FieldError("trainer" if study.trainer else "command", str(error)))
    if errors:
        raise FieldsError(errors)
    return OwnTraining(
        path=study.trainer, command=study.command, keywords=tuple(sorted(study.control.items())), digest=digest
    )


def _unread(study: Study) -> Iterator[FieldError]:
    """What is written although only this package's own training reads it."""
    what = "trainer" if study.trainer else "command"
    told = f"is read by this package's own training only; with a {what}, write what it needs as fields of [control]"
    if study.trainer and study.command:
        yield FieldError("command", "and trainer exclude each other: what trains is a function or a command line")
    for table in ("data", "recipe"):
        written_there = getattr(study, table).model_fields_set if table in study.model_fields_set else ()
        yield from (FieldError(f"{table}.{name}", told) for name in sorted(written_there))
    if study.match != "none":
        yield FieldError("match", f"is not possible with a {what}: the costs of its arms are not known beforehand")
    if study.keep_weights:
        kept = f"is of this package's own training; of a {what} what it writes to its folder as weights.pt is kept"
        yield FieldError("keep_weights", kept)


def _bad_fields(study: Study) -> Iterator[FieldError]:
    for name in study.control:
        if not _NAME.fullmatch(name):
            yield FieldError(f"control.{name}", "must be a name of letters, digits and '_'")
        elif name == "seed":
            yield FieldError("control.seed", "may not be a field: each trial is given its own seed (plan.first_seed)")
        elif study.command and name in GIVEN:
            yield FieldError(f"control.{name}", f"may not be a field: {{{name}}} is given to each trial")


def _bad_placeholders(study: Study) -> Iterator[FieldError]:
    """A placeholder that nothing fills, and a field that no placeholder takes."""
    allowed = (*study.control, *GIVEN)
    used = {name for word in study.command for name in PLACEHOLDER.findall(word)}
    for name in sorted(used - set(allowed)):
        there = ", ".join(f"{{{one}}}" for one in allowed)
        message = f"has the placeholder {{{name}}}, which nothing fills{nearest(name, allowed)} (allowed: {there})"
        yield FieldError("command", message)
    for name in study.control:
        if name not in used and _NAME.fullmatch(name):
            yield FieldError(f"control.{name}", f"does nothing: the command has no {{{name}}}")


def _trainer_digest(path: str) -> str:
    """Of the function's module and of what it imports beside it.

    Raises:
        SourceError: the path leads to no function that takes one argument, as far as its source shows.
    """
    if not re.fullmatch(PATTERN, path):
        raise SourceError(f"must be written PACKAGE.MODULE:FUNCTION, such as my_package.train:train, got {path!r}")
    module, _, function = path.partition(":")
    found = find(module)
    if found.file is not None:
        tree = parsed(found.file)
        there = bound_names(tree)
        if there is not None and function not in there:
            raise SourceError(f"= {path!r}: {found.file} has no {function!r}{nearest(function, there)}")
        needed = required_of(tree, function)
        if needed is not None and needed != 1:
            raise SourceError(f"= {path!r} must take one argument, the trial; in {found.file} it takes {needed}")
    return digest_of(found)


def _command_digest(command: tuple[str, ...]) -> str:
    """Over every file that the command names, a Python script with the modules beside it that it imports.

    Raises:
        SourceError: there is no such program, script or module.
    """
    program = command[0]
    if program not in PYTHON and named_file(program) is None and shutil.which(program) is None:
        raise SourceError(f"starts with {program!r}, which is neither a program here nor a file")
    hashed = hashlib.sha256()
    for before, word in itertools.pairwise(command):
        if before == "-m" and program in PYTHON:
            hashed.update(f"{word}\n{digest_of(find(word))}\n".encode())
            continue
        file = named_file(word)
        if file is None and Path(word).suffix.lower() in _SCRIPTS and not PLACEHOLDER.search(word):
            scripts = [one.name for place in places() for one in place.glob(f"*{Path(word).suffix}")]
            raise SourceError(
                f"names {word!r}, and there is no such file in {', '.join(map(str, places()))}{nearest(word, scripts)}"
            )
        if file is not None:
            python = file.suffix == ".py"
            content = digest_of(Module(file.stem, file, file.parent)) if python else _digest_of_file(file)
            hashed.update(f"{word}\n{content}\n".encode())
    return hashed.hexdigest()[:16]


def _digest_of_file(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise SourceError(f"names {file}, which cannot be read ({error.strerror})") from error


def planned_epochs(training: OwnTraining) -> int | None:
    """How many epochs an arm reports, where its fields say: a whole number called ``epochs``."""
    epochs: Level | None = dict(training.keywords).get("epochs")
    return epochs if isinstance(epochs, int) and not isinstance(epochs, bool) and epochs > 0 else None
