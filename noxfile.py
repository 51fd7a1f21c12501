"""The sessions: `nox` runs lint, types and tests; `nox -l` lists all."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = ["lint", "types", "tests"]

PYPROJECT = nox.project.load_toml("pyproject.toml")
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}


def install(session: nox.Session, *groups: str) -> None:
    """The package itself, editable, and what the named groups add."""
    session.install("-e", ".", *nox.project.dependency_groups(PYPROJECT, *groups))


def axe_core(session: nox.Session) -> dict[str, str]:
    """axe-core for the tests of the report's pages, from npm; they skip themselves where it cannot be had."""
    if os.environ.get("AXE_CORE") or shutil.which("npm") is None or shutil.which("chromedriver") is None:
        return {}
    folder = Path(session.create_tmp())
    script = folder / "node_modules" / "axe-core" / "axe.min.js"
    if not script.is_file():
        session.run(
            "npm", "install", "--silent", "--no-save", "--ignore-scripts", f"--prefix={folder}", "axe-core",
            external=True, success_codes=range(256),
        )  # fmt: skip
    return {"AXE_CORE": str(script)} if script.is_file() else {}


@nox.session
def tests(session: nox.Session) -> None:
    """The ordinary tests, two files at a time."""
    install(session, "tests")
    # in the order of the folders: xdist would leave the files of few and long tests to the end
    files = ("-n", "2", "--dist", "loadfile", "--no-loadscope-reorder")
    session.run("pytest", *files, *session.posargs, env=ONE_THREAD | axe_core(session))


@nox.session
def slow(session: nox.Session) -> None:
    """The long forms: random kills, killed servers, large simulations, and each property on 300 examples."""
    install(session, "tests")
    session.run("pytest", "-m", "slow", *session.posargs, env=ONE_THREAD)
    properties = ("-m", "hypothesis and not slow and not gpu", "--hypothesis-profile", "thorough")
    session.run("pytest", *properties, *session.posargs, env=ONE_THREAD)


@nox.session
def ray(session: nox.Session) -> None:
    """Campaigns on a real Ray cluster of several nodes on this machine, one of them killed."""
    install(session, "tests")
    session.install("-e", ".[ray]")
    session.run("pytest", "-m", "slow", "tests/campaign/test_ray_executor.py", *session.posargs, env=ONE_THREAD)


@nox.session
def postgres(session: nox.Session) -> None:
    """MLflow and Optuna on a real PostgreSQL server, started and removed here; needs Debian's package postgresql."""
    install(session, "tests")
    session.install("-e", ".[postgres]")
    session.run("pytest", "-m", "slow", "tests/campaign/test_postgres.py", *session.posargs, env=ONE_THREAD)


@nox.session
def faults(session: nox.Session) -> None:
    """Every fault that a campaign should survive, provoked; with --tries 50 it writes docs/faults.md."""
    install(session, "tests")
    session.install("-e", ".[ray,postgres]")
    session.run("python", "benchmarks/faults.py", *session.posargs, env=ONE_THREAD)


@nox.session
def gpu(session: nox.Session) -> None:
    """What needs a CUDA device; every test skips itself where there is none."""
    install(session, "tests")
    session.run("pytest", "-m", "gpu", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Ruff: rules and format."""
    session.install(*nox.project.dependency_groups(PYPROJECT, "lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Mypy, strict, on the package."""
    install(session, "types")
    session.run("mypy")


@nox.session
def docs(session: nox.Session) -> None:
    """The documents as one site, into site/: every link leads somewhere, and no page loads anything from elsewhere."""
    session.install(*nox.project.dependency_groups(PYPROJECT, "docs"))
    session.run("mkdocs", "build", "--quiet", *session.posargs, env={"NO_MKDOCS_2_WARNING": "1"})
    loads = re.compile(r"<(?:script|img|iframe|link [^>]*(?:stylesheet|preconnect))[^>]*(?:src|href)=.?(?:https?:)?//")
    for page in sorted(Path("site").rglob("*.html")):
        if found := loads.search(page.read_text(encoding="utf-8")):
            session.error(f"{page} loads from elsewhere: {found[0]}")


@nox.session
def smoke(session: nox.Session) -> None:
    """The main job at a small size, from a wheel built from the sdist, in a fresh environment and an empty folder."""
    session.install("build")
    with tempfile.TemporaryDirectory() as folder:
        session.run("python", "-m", "build", "--outdir", folder, silent=True)
        (wheel,) = Path(folder).glob("*.whl")
        session.install(str(wheel))
        session.chdir(folder)
        main_job(session)


@nox.session
def lowest(session: nox.Session) -> None:
    """The main job at a small size, on the lowest version of each library that pyproject.toml allows."""
    session.install("--resolution", "lowest-direct", "-e", ".")
    with tempfile.TemporaryDirectory() as folder:
        session.chdir(folder)
        main_job(session)


def main_job(session: nox.Session) -> None:
    """README's first commands in the current folder: train, train nothing, check, report."""
    study = ("python", "-m", "ablate.study", "linear_bottleneck", "--seeds", "2", "--epochs", "1")
    session.run("ablate", "study", "--list")
    session.run(*study, env=ONE_THREAD)
    session.run(*study, env=ONE_THREAD)  # trains nothing
    session.run(*study, "--check", env=ONE_THREAD)
    session.run("python", "-m", "ablate.report", "linear_bottleneck")
    if not Path("runs/reports/linear_bottleneck/latest/report.html").stat().st_size:
        session.error("the report is empty")


@nox.session
def bench(session: nox.Session) -> None:
    """What is claimed about speed, measured: about 16 minutes on 2 quiet cores; writes docs/benchmarks.md."""
    install(session, "bench")
    session.run("python", "benchmarks/suite.py", *session.posargs)


@nox.session
def load(session: nox.Session) -> None:
    """100,000 trials, 256 arms, 64 workers: what one machine needs for them; 15 minutes; writes docs/load.md."""
    install(session)
    session.run("python", "benchmarks/load.py", *session.posargs, env=ONE_THREAD)


@nox.session
def reports(session: nox.Session) -> None:
    """Executes the report notebooks on a small campaign, into runs/."""
    install(session)
    runs = Path(session.create_tmp()) / "runs"
    shutil.rmtree(runs, ignore_errors=True)
    for name in ("linear_bottleneck", "toggles"):
        arguments = ("--runs", str(runs), "--seeds", "2", "--epochs", "1", "--data", "synthetic")
        session.run("python", "-m", "ablate.study", name, *arguments, env=ONE_THREAD)
        session.run("python", "-m", "ablate.report", name, "--runs", str(runs))
