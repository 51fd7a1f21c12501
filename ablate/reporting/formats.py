"""The report in further formats: LaTeX and Markdown to paste into a paper, and a PDF of the page."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from ablate.design.plan import NOISE_FLOOR, Arm
from ablate.errors import AblateError, one_of
from ablate.files import write_whole
from ablate.reporting import markdown, words
from ablate.reporting.folders import PAGE, ReportError, is_current, write_report, writing
from ablate.reporting.headline import headline
from ablate.reporting.results import Results
from ablate.reporting.style import FEWEST_SEEDS, p_text

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge")
QUIET = (
    "--headless", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-pdf-header-footer",
)  # fmt: skip
PDF_S = 120
MOST_TOGGLES = 6  # columns of ticks; an ablation that moves more fields names its changes
TICK, CROSS, DAGGER = "✓", "✗", "†"


def write_formats(results: Results, folder: Path, formats: Sequence[str]) -> dict[str, Path]:
    """Writes the report of a campaign in each of these formats.

    Args:
        results: of the campaign.
        folder: where the files go.
        formats: of ``FORMATS``.

    Returns:
        The file of each format.

    Raises:
        AblateError: an unknown format.
        ReportError: the disk will not do, or there is no browser to print the PDF with.
    """
    for name in formats:
        if name not in FORMATS:
            raise AblateError(f"--format {one_of(name, FORMATS)}")
    return {name: FORMATS[name](results, folder) for name in dict.fromkeys(formats)}


def _html(results: Results, folder: Path) -> Path:
    return folder / PAGE if is_current(results, folder) else write_report(results, folder)


def _written(path: Path, text: str) -> Path:
    with writing(path.parent):
        write_whole(path, text.encode())
    return path


def paper_rows(results: Results) -> pd.DataFrame:
    """The verdicts as a paper prints them: what each arm keeps of the control, difference, p, verdict.

    A dagger marks an arm that is not judged.
    """
    arms = [results.arm(name) for name in results.compared]
    study = results.plan.study
    fields = [] if study.searched else list(study.factors) or _moved_fields(arms)
    rows = []
    for arm in arms:
        verdict = results.judgement.verdict(arm.name)
        contrast = verdict.contrast if verdict.outcome != "not judged" else None
        row = {"arm": arm.name}
        if fields:
            row |= {name: CROSS if name in {change.field for change in arm.changes} else TICK for name in fields}
        else:
            row["change"] = words.change(arm, results.plan.study).replace("\N{NO-BREAK SPACE}", " ")
        unit = results.unit
        row |= {
            f"Δ{unit.behind}": unit.signed(contrast.mean_difference) if contrast else DAGGER,
            f"{words.confidence(results)} interval": words.interval(results, contrast),
            "adjusted p": p_text(contrast.adjusted_p if contrast else None),
            "verdict": verdict.outcome,
        }
        rows.append(row)
    return pd.DataFrame(rows)


def _moved_fields(arms: Sequence[Arm]) -> list[str]:
    """The fields that the arms move, where they are few enough for a column each and several arms share them."""
    compared = [arm for arm in arms if arm.name != NOISE_FLOOR]
    fields = list(dict.fromkeys(change.field for arm in compared for change in arm.changes))
    return fields if 1 < len(fields) <= MOST_TOGGLES and len(compared) > 1 else []


def notes(results: Results) -> list[str]:
    """What the marks of ``paper_rows`` mean, as far as they occur."""
    table = paper_rows(results)
    cells = {str(cell) for line in table.itertuples(index=False) for cell in line}
    told = [
        f"{results.unit.axis}, arm minus control, paired by seed; {words.count(results.judgement.num_seeds, 'seed')}."
    ]
    if CROSS in cells:
        told.append(f"{TICK}: as in the control; {CROSS}: changed.")
    if DAGGER in cells:
        told.append(f"{DAGGER}: not judged.")
    return told


def as_latex(results: Results) -> str:
    """The verdicts as a LaTeX table (packages booktabs and amssymb)."""
    table = paper_rows(results)
    printed = table.map(_latex).rename(columns=_latex)
    columns = "".join(_alignment(table, str(name)) for name in table)
    made = printed.style.hide(axis="index").to_latex(
        hrules=True, column_format=columns, position="t", position_float="centering",
        caption=_latex(" ".join([headline(results), *notes(results)])), label=f"tab:{results.plan.study.name}",
    )  # fmt: skip
    return f"% needs \\usepackage{{booktabs}} and \\usepackage{{amssymb}}\n{made}"


def _alignment(table: pd.DataFrame, name: str) -> str:
    if name in {"arm", "change", "verdict"}:
        return "l"
    return "c" if table[name].isin([TICK, CROSS]).all() else "r"


_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "−": "$-$", "×": r"$\times$", "→": r"$\rightarrow$",
    "Δ": r"$\Delta$", "±": r"$\pm$", "<": "$<$", ">": "$>$", "–": "--", "\N{NO-BREAK SPACE}": "~",
    TICK: r"\checkmark", CROSS: r"$\times$", DAGGER: r"$^\dagger$",
}  # fmt: skip


def _latex(text: object) -> str:
    """Text with everything escaped that LaTeX would obey, and signs as LaTeX writes them."""
    return "".join(_LATEX.get(sign, sign) for sign in words.plain(str(text)).replace("\n", " "))


def raw_differences(results: Results) -> str:
    """A line of Python that holds every seed's difference, and recomputes each mean with its interval."""
    factor, digits = results.unit.factor, results.unit.digits + 2
    pairs = {
        verdict.arm: [round(one * factor, digits) for one in verdict.contrast.differences]
        for verdict in results.judgement.verdicts
        if verdict.contrast is not None and verdict.contrast.n >= FEWEST_SEEDS
    }
    level = 1 - results.judgement.alpha
    return (
        f"from scipy import stats; d = {json.dumps(pairs)}; "
        f"print({{a: (sum(x) / len(x), stats.t.interval({level:g}, len(x) - 1, sum(x) / len(x), stats.sem(x))) "
        "for a, x in d.items()})"
    )


def as_markdown(results: Results) -> str:
    """Answer, verdict table, methods and the raw differences as Markdown to paste into a paper or an issue."""
    study = results.plan.study
    parts = [
        f"## {markdown.escape(words.title(results))}",
        markdown.escape(study.question),
        f"**{markdown.escape(headline(results))}**",
        *(f"> {markdown.escape(statement)}" for statement in words.gravest(results)),
        markdown.table(paper_rows(results)),
        markdown.escape(" ".join(notes(results))),
        f"### Methods\n\n{_paragraphs(words.methods(results))}",
        f"### Every seed's difference{results.unit.behind}\n\n```python\n{raw_differences(results)}\n```",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _paragraphs(text: str) -> str:
    """Paragraphs stay paragraphs, and lines lines."""
    return "\n\n".join("  \n".join(map(markdown.escape, part.split("\n"))) for part in text.split("\n\n"))


def _tex(results: Results, folder: Path) -> Path:
    return _written(folder / "verdicts.tex", as_latex(results))


def _md(results: Results, folder: Path) -> Path:
    return _written(folder / "report.md", as_markdown(results))


def _pdf(results: Results, folder: Path) -> Path:
    return print_pdf(_html(results, folder), folder / "report.pdf")


def print_pdf(page: Path, target: Path) -> Path:
    """Prints a page with the headless Chromium of this machine.

    Raises:
        ReportError: there is none, or it did not print the page.
    """
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        raise ReportError(
            "a PDF is printed by Chromium, Chrome or Edge, and none of them is on the PATH; install one, or open "
            f"{page} in a browser and print it"
        )
    sandbox = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []  # root has none
    with tempfile.TemporaryDirectory(prefix="ablate-pdf-") as folder:
        made = Path(folder) / "report.pdf"
        command = [browser, *QUIET, *sandbox, f"--user-data-dir={folder}/profile", f"--print-to-pdf={made}"]
        try:
            done = subprocess.run(  # noqa: S603 - a browser of this machine on our own page
                [*command, page.resolve().as_uri()], capture_output=True, timeout=PDF_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ReportError(f"{browser} did not print {page}: {error}") from error
        if done.returncode != 0 or not made.is_file():
            last = words.plain(done.stderr.decode(errors="replace").strip()[-300:])
            raise ReportError(f"{browser} did not print {page}: {last or f'exit status {done.returncode}'}")
        with writing(target):
            write_whole(target, made.read_bytes())
    return target


FORMATS: dict[str, Callable[[Results, Path], Path]] = {"html": _html, "pdf": _pdf, "md": _md, "tex": _tex}
