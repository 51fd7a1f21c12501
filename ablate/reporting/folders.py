"""Where reports are kept: a folder for each campaign, and ``latest``; files written whole, no link followed."""

from __future__ import annotations

import contextlib
import html
import json
import os
import re
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

from ablate.design.plan import CampaignPlan
from ablate.errors import AblateError
from ablate.files import read_whole, write_whole
from ablate.formats import parse
from ablate.reporting.parts import Chart
from ablate.reporting.results import Results

PAGE, STAMP, LATEST = "report.html", "stamp.json", "latest"
LONGEST = 40  # characters of a data set's or budget's name in a folder's name


class ReportError(AblateError):
    """The report could not be made; the message says what failed and why."""


def report_folder(runs: Path, plan: CampaignPlan) -> Path:
    """``runs/reports/STUDY/BUDGET-DATA-DIGEST``: its own for every campaign, so that no report overwrites another's."""
    study = plan.study
    name = f"{_slug(study.budget)}-{_slug(Path(plan.data.name).stem)}-{study.digest}"
    return runs / "reports" / study.name / name


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.]+", "_", text).strip("_.")[:LONGEST] or "unnamed"


def is_current(results: Results, folder: Path) -> bool:
    """Whether the report in ``folder`` shows just these results."""
    try:
        stamp = parse(read_whole(folder / STAMP))
    except (OSError, ValueError, AblateError):
        return False
    return isinstance(stamp, dict) and stamp.get("results") == results.digest and (folder / PAGE).is_file()


def publish(results: Results, runs: Path) -> Path:
    """Makes the report of a campaign in its own folder, unless it is there as it would be made, and marks it as latest.

    Returns:
        The page.

    Raises:
        ReportError: the folder cannot be written.
    """
    folder = report_folder(runs, results.plan)
    page = folder / PAGE if is_current(results, folder) else write_report(results, folder)
    with writing(folder):
        mark_latest(folder)
    return page


def write_report(results: Results, folder: Path) -> Path:
    """Writes ``report.html`` with each figure's picture and data under ``figures/``; a stamp of the results comes last.

    Returns:
        The page.

    Raises:
        ReportError: the folder cannot be written.
    """
    from ablate.reporting.page import render_page

    page, charts = render_page(results)
    with writing(folder):
        if folder.is_symlink():  # made by somebody else; what it leads to is not ours
            folder.unlink()
        write_charts(charts, folder / "figures")
        write_whole(folder / PAGE, page.encode())
        write_whole(folder / STAMP, json.dumps({"results": results.digest}).encode())
    return folder / PAGE


def write_charts(charts: Sequence[Chart], folder: Path) -> None:
    """NAME.png and NAME.csv of each chart; removes what an earlier report left, of links never the target."""
    if folder.is_symlink():
        folder.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    files = {f"{chart.name}.png": chart.png() for chart in charts} | {
        f"{chart.name}.csv": chart.csv() for chart in charts
    }
    for name, content in files.items():
        write_whole(folder / name, content)
    for entry in folder.iterdir():
        if entry.name not in files and entry.suffix in {".png", ".csv", ".svg"}:
            with contextlib.suppress(OSError):  # a folder of that name is not ours
                entry.unlink()


def mark_latest(folder: Path) -> None:
    """Points ``latest`` beside ``folder`` at it: a link, or ``latest.html`` where links are not possible."""
    link = folder.with_name(LATEST)
    if link.is_symlink() and link.readlink() == Path(folder.name):
        return
    made = folder.with_name(f".{LATEST}.{uuid.uuid4().hex}")
    try:
        made.symlink_to(folder.name, target_is_directory=True)
        made.replace(link)
    except OSError:  # no links on this file system, or a folder of that name
        with contextlib.suppress(OSError):
            made.unlink()
        target = html.escape(f"{folder.name}/{PAGE}", quote=True)
        page = (
            f'<!doctype html>\n<meta http-equiv="refresh" content="0; url={target}">\n<a href="{target}">latest</a>\n'
        )
        write_whole(folder.with_name(f"{LATEST}.html"), page.encode())


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turns what a disk refuses into a sentence.

    Raises:
        ReportError: with the file and the reason.
    """
    try:
        yield
    except OSError as error:
        where = os.fspath(error.filename) if isinstance(error.filename, str | os.PathLike) else folder
        raise ReportError(
            f"{where}: the report cannot be written ({error.strerror or error}); records and verdicts are kept, and "
            "`python -m ablate.report NAME --out DIR` writes it to another folder"
        ) from error
