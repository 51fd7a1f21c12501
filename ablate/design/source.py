"""Where the code behind an import path is, and what it says, read from disk: nothing is imported."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib
import importlib.metadata
import importlib.util
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from ablate.errors import AblateError, nearest

_FOLDERS: dict[str, None] = {}  # of the study files read by this process
_LIBRARIES = ("site-packages", "dist-packages")


class SourceError(AblateError):
    """An import path leads nowhere; the message says what was looked for, and where."""


@dataclass(frozen=True)
class Module:
    """A module that was found, not imported.

    Attributes:
        name: dotted.
        file: its source; None where there is none, as for a module written in C.
        place: the folder that it is imported from: that of its top-level package or module.
    """

    name: str
    file: Path | None
    place: Path | None

    @property
    def installed(self) -> bool:
        """Whether it is part of an installed package or of Python, so that nobody edits it between two trials."""
        return self.place is None or in_library(self.place)


def in_library(path: Path) -> bool:
    """Whether a file or folder is of an installed package or of Python itself."""
    standard = Path(sysconfig.get_paths()["stdlib"])
    return any(part in _LIBRARIES for part in path.parts) or path.is_relative_to(standard)


def look_in(folder: Path) -> None:
    """Makes the folder of a study file a place to import from, after ``sys.path`` and the current directory."""
    _FOLDERS.setdefault(str(folder.resolve()))


def own_places() -> list[str]:
    """The places to import from that ``sys.path`` lacks: the current directory and the folders of study files."""
    places = dict.fromkeys([str(Path.cwd()), *_FOLDERS])
    return [place for place in places if place not in sys.path and not (place == str(Path.cwd()) and "" in sys.path)]


def places() -> list[Path]:
    """The current directory and the folders of study files: where files and modules of the user's own are."""
    return [Path(place) for place in dict.fromkeys([str(Path.cwd()), *_FOLDERS])]


def find(name: str) -> Module:
    """The module called ``name``.

    Raises:
        SourceError: there is none; the message names the first part that was not found, and the places.
    """
    top, *rest = name.split(".")
    if top == "__main__":
        raise SourceError(
            "'__main__' is the running program, which workers cannot import: write the function in a module"
        )
    spec = _top(top)
    if spec is None:
        importlib.invalidate_caches()  # it may have been written a moment ago
        spec = _top(top)
    if spec is None:
        places = ", ".join(dict.fromkeys([str(Path.cwd()), *_FOLDERS]))
        raise SourceError(f"there is no module {top!r} in {places} or among the installed packages")
    place = _place(spec)
    so_far = top
    for part in rest:
        folders = spec.submodule_search_locations
        so_far, above = f"{so_far}.{part}", so_far
        if folders is None:
            raise SourceError(f"{above!r} ({spec.origin}) is a module, not a package: it holds no {so_far!r}")
        found = PathFinder.find_spec(so_far, list(folders))
        if found is None:
            there = [entry.stem for folder in folders if Path(folder).is_dir() for entry in Path(folder).iterdir()]
            raise SourceError(f"there is no module {so_far!r} in {', '.join(folders)}{nearest(part, there)}")
        spec = found
    origin = spec.origin if spec.has_location else None
    return Module(name, Path(origin) if origin and origin.endswith(".py") else None, place)


def _top(name: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(name) or PathFinder.find_spec(name, own_places())
    except (ValueError, ImportError):  # __main__ has no spec
        return None


def _place(spec: ModuleSpec) -> Path | None:
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations))).parent
    return Path(spec.origin).parent if spec.origin and spec.has_location else None


def digest_of(module: Module) -> str:
    """16 hex digits over the source of a module and of every module beside it that it imports; "" without source.

    Of an installed package it is the module's own source, with the package's version.

    Raises:
        SourceError: a source cannot be read, or is no Python.
    """
    if module.file is None:
        return ""
    hashed = hashlib.sha256()
    if module.installed or module.place is None:
        hashed.update(f"{_version(module.name)}\n".encode() + _read(module.file))
    else:
        for name, file in sorted(_reached(module.name, module.file, module.place).items()):
            hashed.update(f"{name}\n".encode() + _read(file) + b"\0")
    return hashed.hexdigest()[:16]


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name.split(".")[0])
    except importlib.metadata.PackageNotFoundError:
        return ""


def _reached(name: str, file: Path, place: Path) -> dict[str, Path]:
    """The module and the modules in the same place that it imports, directly or not, with their files."""
    found = {name: file}
    waiting = [name]
    while waiting:
        current = waiting.pop()
        tree = parsed(found[current])
        package = current if found[current].name == "__init__.py" else current.rpartition(".")[0]
        for wanted in (*_above(current), *_imported_by(tree, package)):
            there = _file_of(wanted, place)
            if there is not None and wanted not in found:
                found[wanted] = there
                waiting.append(wanted)
    return found


def _above(name: str) -> Iterator[str]:
    """The packages around a module, whose own code runs when it is imported."""
    parts = name.split(".")
    yield from (".".join(parts[:count]) for count in range(1, len(parts)))


def _imported_by(tree: ast.Module, package: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from (alias.name, *_above(alias.name))
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".") if node.level else []
            base = ".".join([*parts[: len(parts) - node.level + 1], *([node.module] if node.module else [])])
            if base:
                yield from (base, *_above(base), *(f"{base}.{alias.name}" for alias in node.names))


def _file_of(name: str, place: Path) -> Path | None:
    stem = place.joinpath(*name.split("."))
    candidates = (stem / "__init__.py", stem.with_name(f"{stem.name}.py"))
    return next((file for file in candidates if file.is_file()), None)


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise SourceError(f"{file}: cannot be read ({error.strerror or error})") from error


def parsed(file: Path) -> ast.Module:
    """The syntax tree of a source file.

    Raises:
        SourceError: it cannot be read, or is no Python.
    """
    return _parsed(file, _read(file))


@functools.lru_cache(maxsize=256)
def _parsed(file: Path, content: bytes) -> ast.Module:
    try:
        return ast.parse(content)
    except (SyntaxError, ValueError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        raise SourceError(f"{file}{line}: is not valid Python ({getattr(error, 'msg', error)})") from error


def bound_names(tree: ast.Module) -> set[str] | None:
    """The names that a module binds at its top level; None where that cannot be told without running it."""
    names: set[str] = set()
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
            continue
        if isinstance(node, ast.alias):
            names.add(node.asname or node.name.split(".")[0])
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        waiting += ast.iter_child_nodes(node)
    return None if {"*", "__getattr__"} & names else names


@dataclass(frozen=True)
class Parameters:
    """What a function can be called with.

    Attributes:
        names: those that it takes by name.
        required: those that have no default, by name or by place only.
        placed: those that it takes by place.
        any_name: whether it takes any further name (``**kwargs``).
        any_place: whether it takes any further argument by place (``*args``).
    """

    names: tuple[str, ...]
    required: tuple[str, ...]
    placed: tuple[str, ...]
    any_name: bool
    any_place: bool

    @property
    def can_take_one(self) -> bool:
        """Whether it can be called with one argument by place."""
        others = [name for name in self.required if name not in self.placed[:1]]
        return not others and bool(self.placed or self.any_place)


def parameters_of(tree: ast.Module, function: str) -> Parameters | None:
    """The parameters of a plain function or class of a module; None where they do not show."""
    found = next((node for node in tree.body if getattr(node, "name", None) == function), None)
    skipped = 0
    if isinstance(found, ast.ClassDef):
        methods = (node for node in found.body if getattr(node, "name", None) == "__init__")
        found = next(methods, None) if not found.decorator_list else None  # a dataclass makes its own
        skipped = 1
    if not isinstance(found, ast.FunctionDef) or found.decorator_list:
        return None
    given = found.args
    placed = [argument.arg for argument in (*given.posonlyargs, *given.args)]
    needed = placed[: len(placed) - len(given.defaults)][skipped:]
    needed += [one.arg for one, default in zip(given.kwonlyargs, given.kw_defaults, strict=True) if default is None]
    named = placed[max(skipped, len(given.posonlyargs)) :] + [one.arg for one in given.kwonlyargs]
    return Parameters(
        names=tuple(named), required=tuple(needed), placed=tuple(placed[skipped:]), any_name=given.kwarg is not None,
        any_place=given.vararg is not None,
    )  # fmt: skip
