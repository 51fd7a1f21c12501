"""Several campaigns on a page: the index of all with the answer of each, and two of them side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ablate.files import write_whole
from ablate.reporting import figures, frames, stability, tables, words
from ablate.reporting.folders import PAGE, report_folder, write_charts, writing
from ablate.reporting.headline import headline
from ablate.reporting.page import laid, lay_out
from ablate.reporting.parts import Chart, Entries, Entry, Notice, Part, Prose, Table
from ablate.reporting.results import Results
from ablate.verdicts.tally import tally


def write_index(campaigns: Sequence[Results], reports: Path) -> Path:
    """Writes ``reports/index.html``: every campaign with its question, its answer and the way to its report.

    Args:
        campaigns: the results of each.
        reports: the folder in which each campaign has its own, ``runs/reports``.

    Returns:
        The page.

    Raises:
        ReportError: the folder cannot be written.
    """
    entries = tuple(_entry(results) for results in campaigns)
    counted = words.count(len(entries), "campaign")
    asked = tally([(results.plan, results.judgement) for results in campaigns]).sentence
    page = lay_out(
        "Studies",
        "Studies",
        counted,
        [laid("studies", "What was asked, and what came out", [Prose(asked, "rule"), Entries(entries)])],
    )
    with writing(reports):
        write_whole(reports / "index.html", page.encode())
    return reports / "index.html"


def _entry(results: Results) -> Entry:
    place = report_folder(Path(), results.plan).relative_to("reports")
    none_judged = all(verdict.outcome == "not judged" for verdict in results.judgement.verdicts)
    why = words.gravest(results)[:1] if none_judged else []
    return Entry(
        title=words.title(results),
        href=(place / PAGE).as_posix(),
        facts=words.facts(results),
        question=results.plan.study.question,
        answer=" ".join([headline(results), *why, *(f"{told}." for told in stability.sentences(results))]),
    )


def compare(first: Results, second: Results, folder: Path) -> Path:
    """Writes ``folder/against-DIGEST/compare.html``: two campaigns side by side, and what sets them apart.

    Args:
        first: A.
        second: B, of another data set, budget, machine or commit; the arms that both have are compared.
        folder: where it goes, such as the folder of A's report; in a folder of its own, named by B's campaign.

    Returns:
        The page.

    Raises:
        ReportError: the folder cannot be written.
    """
    chart = compared_chart(first, second)
    apart = apart_rows(first, second)
    parts: list[Part] = [Prose(f"A: {headline(first)}", "answer"), Prose(f"B: {headline(second)}", "answer")]
    if chart is None:
        parts.append(Notice(("The two campaigns have no arm in common that both judged.",)))
    else:
        parts += [chart, Table(compared_rows(first, second), "Difference to the control in A and in B")]
    sections = [laid("answer", "A and B", parts), laid("apart", "What sets them apart", [Table(apart, "A against B")])]
    title = f"{words.title(first)}: A and B"
    page = lay_out(title, title, f"A: {words.facts(first)}; B: {words.facts(second)}", sections)
    own = folder / f"against-{second.plan.study.digest}"
    with writing(own):
        write_charts([chart] if chart else [], own / "figures")
        write_whole(own / "compare.html", page.encode())
    return own / "compare.html"


def compared(first: Results, second: Results) -> pd.DataFrame:
    """Campaign (A, B), arm, mean, low, high, outcome: a row for each campaign of every arm that both judged."""
    both = [frames.contrasts(results).dropna(subset=["mean"]) for results in (first, second)]
    shared = [arm for arm in both[0]["arm"] if arm in set(both[1]["arm"])]
    named = [table[table["arm"].isin(shared)].assign(campaign=name) for table, name in zip(both, "AB", strict=True)]
    return pd.concat(named, ignore_index=True)[["campaign", "arm", "mean", "low", "high", "outcome"]]


def compared_chart(first: Results, second: Results) -> Chart | None:
    """Both campaigns' differences to their controls; None where they share no arm or not the metric."""
    table = compared(first, second)
    if table.empty or first.judgement.metric != second.judgement.metric:
        return None
    return Chart(
        name="compared",
        figure=figures.compared(table, first.judgement.margin * first.unit.factor, first.unit),
        data=table,
        caption="Each arm's difference to its own control. Intervals that overlap widely: A and B say the same.",
        alt="Difference to the control of every shared arm, in campaign A and in campaign B, with intervals.",
    )


def compared_rows(first: Results, second: Results) -> pd.DataFrame:
    """The same as printed text, a row an arm."""
    unit = first.unit
    rows = []
    for arm in dict.fromkeys(compared(first, second)["arm"]):
        row = {"arm": arm, "change": words.change(first.arm(arm), first.plan.study)}
        for name, results in (("A", first), ("B", second)):
            verdict = results.judgement.verdict(arm)
            mean = verdict.contrast.mean_difference if verdict.contrast else None
            row |= {
                f"{name}{unit.behind}": unit.signed(mean),
                f"{name}: interval": words.interval(results, verdict.contrast),
                f"{name}: verdict": verdict.outcome,
            }
        rows.append(row)
    return pd.DataFrame(rows)


def apart_rows(first: Results, second: Results) -> pd.DataFrame:
    """What the two say differently of where they come from and of what they did: what, A, B."""
    both = [_told(results) for results in (first, second)]
    names = dict.fromkeys([*both[0], *both[1]])
    rows = [(name, both[0].get(name, "–"), both[1].get(name, "–")) for name in names]
    return pd.DataFrame([row for row in rows if row[1] != row[2]], columns=["what", "A", "B"])


def _told(results: Results) -> dict[str, str]:
    told = dict(tables.provenance(results, frames.trials(results)).itertuples(index=False))
    lines = words.study_text(results.plan.study).splitlines()
    table = ""
    for line in lines:
        if line.startswith("["):
            table = f"{line.strip('[]')}."
        elif " = " in line:
            name, _, value = line.partition(" = ")
            told[table + name] = value
    return told
