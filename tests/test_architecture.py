"""The house rules, read off the syntax tree: which room may import what."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "ablate"
FLOORS = (
    "cpu",
    "errors",
    "files",
    "formats",
    "paths",
    "command_line",
    "provenance",
    "serve",
    "model",
    "measure",
    "design",
    "training",
    "verdicts",
    "campaign",
    "reporting",
)
COMMANDS = (
    "study",
    "report",
    "judge",
    "ui",
    "predict",
    "information",
    "memory",
    "low_precision",
    "input_sizes",
    "check_block",
    "__main__",
)
# A library on the left is imported only by the modules on the right (prefixes, relative to ablate/).
OWNERS = {
    "optuna": ("campaign/optuna_",),
    "mlflow": ("campaign/mlflow_", "serve.py"),
    "fvcore": ("measure/",),
    "ray": ("campaign/ray_executor.py",),
    "seaborn": ("reporting/",),
}
TORCH_FREE = (
    "__init__.py",
    "cpu.py",
    "errors.py",
    "files.py",
    "formats.py",
    *(f"model/{name}.py" for name in ("spec", "zoo", "layers", "compiled")),
    "design/",
    "verdicts/",
    "reporting/",
)
MODULES = sorted(path for path in PACKAGE.rglob("*.py"))


def imports(path: Path, *, top_level_only: bool = False, for_types: bool = False) -> set[str]:
    """Dotted names that a module imports at run time; those under TYPE_CHECKING count with ``for_types``."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test) and not for_types:
            return
        if top_level_only and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: imports are absolute"
            found.update([node.module, *(f"{node.module}.{alias.name}" for alias in node.names)])
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text()))
    return found


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_only_from_its_own_floor_and_below(path: Path) -> None:
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if own in (*COMMANDS, "__init__"):
        return
    height = FLOORS.index(own)
    used = {room(name) for name in imports(path) if name.startswith("ablate.")}
    wrong = {name for name in used if name in COMMANDS or (name in FLOORS and FLOORS.index(name) > height)}
    assert not wrong, f"{own} reaches up to {sorted(wrong)}"


def test_no_modules_import_each_other_in_a_circle_not_even_for_types() -> None:
    names = {".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): path for path in MODULES}
    graph = {name: imports(path, for_types=True) & names.keys() for name, path in names.items()}
    assert set(TopologicalSorter(graph).static_order()) == names.keys()  # a circle raises CycleError, which names it


@pytest.mark.parametrize("library", OWNERS)
def test_a_library_with_an_owner_is_imported_by_its_owner_alone(library: str) -> None:
    users = {str(p.relative_to(PACKAGE)) for p in MODULES if any(n.split(".")[0] == library for n in imports(p))}
    assert users, f"nobody imports {library}"
    assert {user for user in users if not user.startswith(OWNERS[library])} == set()


def test_the_rooms_that_plan_judge_and_report_never_import_torch() -> None:
    for path in MODULES:
        name = str(path.relative_to(PACKAGE))
        if name.startswith(TORCH_FREE):
            assert not {n for n in imports(path) if n.split(".")[0] in {"torch", "torchvision"}}, name


def test_nothing_imports_a_command() -> None:
    for path in MODULES:
        commands = {f"ablate.{name}" for name in COMMANDS}
        lazily_from_main = path.name == "__main__.py"  # `ablate study` calls the same functions
        assert lazily_from_main or not commands & imports(path), path


def test_the_library_is_loaded_without_torch_mlflow_or_optuna() -> None:
    script = (
        "import sys, ablate, ablate.design.plan, ablate.model.zoo, ablate.study, ablate.campaign.run\n"
        "print(sorted({'torch', 'mlflow', 'optuna', 'pandas', 'scipy', 'numpy'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert out.stdout.strip() == "[]"


def test_the_public_face_is_whole() -> None:
    import ablate

    for name in ablate.__all__:
        assert callable(getattr(ablate, name)) or name == "zoo"
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        ablate.nonsense  # noqa: B018


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("modules", ROOT / "docs" / "modules.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_picture_and_the_list_of_modules_are_the_codes() -> None:
    made = generator()
    assert made.ARCHITECTURE.read_text() == made.architecture(), "run: python docs/modules.py"
    assert made.PAGE.read_text() == made.page(), "run: python docs/modules.py"


def test_the_picture_knows_every_room_in_the_order_of_the_floors() -> None:
    assert tuple(generator().ROOMS) == tuple(floor for floor in FLOORS if (PACKAGE / floor).is_dir())


def test_the_architecture_page_is_read_in_minutes() -> None:
    assert len((ROOT / "ARCHITECTURE.md").read_text().split()) < 1500


def test_no_file_is_longer_than_a_room() -> None:
    for path in [*MODULES, *(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]:
        lines = len(path.read_text().splitlines())
        assert lines <= 400, f"{path.relative_to(ROOT)} has {lines} lines"
