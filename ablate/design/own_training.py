"""The user's own training: a function or a command line that an arm's trials call, in place of our nets and loop.

It is planned and reported here without being imported or run; workers do that (training/own.py).
"""

from __future__ import annotations

import hashlib
import itertools
import re
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from ablate.design.imported import PATTERN, Imported
from ablate.design.source import Module, SourceError, bound_names, digest_of, find, parameters_of, parsed, places
from ablate.design.study import Level, Study
from ablate.design.validation import FieldError, FieldsError
from ablate.errors import SpecError, nearest
from ablate.formats import refuse_unknown

GIVEN = ("seed", "out", "folder", "device", "threads", "arm", "phase")  # what a command is told besides its fields
PYTHON = ("python", "python3")  # in a command: the Python that runs this package
PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
MOST_READ = 64 * 1024**2  # bytes of a file whose content is part of the digest
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

        folders = [Path.cwd(), *([Path(self.place)] if self.place else [])]

        def fill(word: str) -> str:
            file = named_file(word, folders)
            return str(file) if file else PLACEHOLDER.sub(lambda found: written(values.get(found[1], found[0])), word)

        program, *rest = self.command
        return [sys.executable if program in PYTHON else fill(program), *map(fill, rest)]


def written(value: object) -> str:
    """A field as a command line says it: ``true`` and ``false`` as in a study file."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def named_file(word: str, folders: Sequence[Path]) -> Path | None:
    """The file that a word of a command names, in the first of the folders that has it; or None."""
    if PLACEHOLDER.search(word) or not word or word.startswith("-"):
        return None
    try:
        return next((folder / word for folder in folders if (folder / word).is_file()), None)
    except (OSError, ValueError):  # too long for a name
        return None


def own_training_of(study: Study) -> OwnTraining:
    """What trains a study's control.

    Raises:
        FieldsError: everything that is wrong with ``trainer``, ``command``, ``[control]``, and with tables that only
            this package's own training reads.
    """
    errors = [*_unread(study), *_bad_fields(study)]
    made = OwnTraining()
    try:
        if study.trainer:
            made = _trainer(study.trainer)
        else:
            errors += _bad_placeholders(study)
            made = _command(study.command)
    except SourceError as error:
        errors.append(FieldError("trainer" if study.trainer else "command", str(error)))
    if errors:
        raise FieldsError(errors)
    return replace(made, keywords=tuple(sorted(study.control.items())))


def _unread(study: Study) -> Iterator[FieldError]:
    """What is written although only this package's own training reads it."""
    what = "trainer" if study.trainer else "command"
    told = f"is read by this package's own training only; with a {what}, write what it needs as fields of [control]"
    if study.trainer and study.command:
        yield FieldError("command", "and trainer exclude each other: what trains is a function or a command line")
    for table in ("data", "recipe"):
        written_there = getattr(study, table).model_fields_set if table in study.model_fields_set else ()
        for name in sorted(written_there):
            field = f"for one call, --set control.{name}=VALUE" if name in study.control else ""
            yield FieldError(f"{table}.{name}", f"{told}; {field}" if field else told)
    if study.match != "none":
        yield FieldError("match", f"is not possible with a {what}: the costs of its arms are not known beforehand")
    if "vary" in study.model_fields_set:
        yield FieldError("vary", f"{told}; each trial is given its seed, and decides what follows it")
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


def _trainer(path: str) -> OwnTraining:
    """A function, with the digest of its module and of what that imports beside it.

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
        taken = parameters_of(tree, function)
        if taken is not None and not taken.can_take_one:
            takes = len(taken.required) or "none"
            raise SourceError(f"= {path!r} must take one argument, the trial; in {found.file} it takes {takes}")
    place = "" if found.installed or found.place is None else str(found.place)
    return OwnTraining(path=path, digest=digest_of(found), place=place)


def _command(command: tuple[str, ...]) -> OwnTraining:
    """A command, with a digest over every file that it names, and the folder that they are in.

    Of a Python script the digest holds the modules beside it that it imports.

    Raises:
        SourceError: there is no such program, script or module.
    """
    program, folders, place = command[0], places(), ""
    if program not in PYTHON and named_file(program, folders) is None and shutil.which(program) is None:
        raise SourceError(f"starts with {program!r}, which is neither a program here nor a file")
    hashed = hashlib.sha256()
    for before, word in itertools.pairwise(("", *command)):
        file = named_file(word, folders)
        if before == "-m" and program in PYTHON:
            hashed.update(f"{word}\n{digest_of(find(word))}\n".encode())
        elif file is not None:
            place = place or next(str(folder) for folder in folders if folder / word == file)
            hashed.update(f"{word}\n{_digest_of_file(file)}\n".encode())
        elif Path(word).suffix.lower() in _SCRIPTS and not PLACEHOLDER.search(word):
            scripts = [one.name for folder in folders for one in folder.glob(f"*{Path(word).suffix}")]
            where = ", ".join(map(str, folders))
            raise SourceError(f"names {word!r}, and there is no such file in {where}{nearest(word, scripts)}")
    return OwnTraining(command=command, digest=hashed.hexdigest()[:16], place=place)


def _digest_of_file(file: Path) -> str:
    """A file's own; of one too large to be read each time its size and the time it was changed."""
    if file.suffix == ".py":
        return digest_of(Module(file.stem, file, file.parent))
    try:
        found = file.stat()
        if found.st_size > MOST_READ:
            return f"{found.st_size} {found.st_mtime_ns}"
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise SourceError(f"names {file}, which cannot be read ({error.strerror})") from error


def planned_epochs(training: OwnTraining) -> int | None:
    """How many epochs an arm reports, where its fields say: a whole number called ``epochs``."""
    epochs: Level | None = dict(training.keywords).get("epochs")
    return epochs if isinstance(epochs, int) and not isinstance(epochs, bool) and epochs > 0 else None
