"""What the shipped studies found, as the documentation shows it.

    python benchmarks/results.py --runs DIR --train            carries out every study first: days
    python benchmarks/results.py --runs DIR                    from the campaigns that are finished there

writes docs/results.md, whichever way the verdicts came out, with the figures and each study's records (STUDY.zip) in
docs/results/. A campaign that is not finished is named as not run.
"""

from __future__ import annotations

import argparse
import csv
import math
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from ablate.campaign.records import RecordStore, plan_path
from ablate.design.read import list_studies, load_study
from ablate.design.study import Study
from ablate.errors import AblateError
from ablate.paths import default_runs
from ablate.reporting import charts, frames, frames_tuning, stability, tables, words
from ablate.reporting.headline import headline, short_verdict
from ablate.reporting.load import load_results
from ablate.reporting.markdown import escape, table
from ablate.reporting.results import Results

DOCS = Path(__file__).parents[1] / "docs"
KEPT = DOCS / "results"
BUDGETS = ("quick", "laptop")
EARLIER = Path(__file__).parent / "earlier_results.csv"
FURTHER = "stability"  # of the studies that have it
FIGURES = (charts.differences, charts.effects, charts.interactions, charts.roadmap)
NOT_RUN = "not run"
MADE = """# What the shipped studies found

Made by `python benchmarks/results.py`. Nothing here is written by hand, and results that were not expected are kept.

- *quick* trains small nets on mnist5k, 4,000 digits of MNIST, and tests them on 1,000 others. It shows how a study
  works, and little about other data.
- *laptop* trains each net on about 400,000 images of CIFAR-10 (`mnist_digits`: of MNIST). Published accuracies of
  MobileNetV2 on CIFAR-10, such as 93.8 % ([chenyaofo](https://github.com/chenyaofo/pytorch-cifar-models)) and 94.4 %
  ([kuangliu](https://github.com/kuangliu/pytorch-cifar)), are of the whole net after 200 epochs. `--budget full`, which
  comes closer, was not run. Nothing here reproduces a result on ImageNet.
- *stability* is *quick* with half and with twice the training as well, of the studies that have it.
"""
REPLACED = """## Results that were replaced

The same studies with the same seeds, as this page first showed them, with date, commit, version of torch and kernels of
the earlier run. Other kernels round differently, training amplifies it, and the same seeds act as new ones. The earlier
run's interval for a repeat is its own interval, stretched by the square root of two ([statistics.md](statistics.md)).
Verdicts were by Holm's method then, and are by max-T now.
"""
RECORDS = """## The records

`results/STUDY.zip` holds the plans and records of a study's campaigns. To make a report without training:

    python -m zipfile -e docs/results/linear_bottleneck.zip .
    python -m ablate.report linear_bottleneck
"""


def campaign(path: Path, budget: str, runs: Path) -> Results | None:
    """A study's campaign at a budget; None where it is not there or not finished."""
    try:
        study = load_study(str(path), budget=budget)
        results = load_results(study.name, runs=runs, digest=study.digest)
    except AblateError:
        return None
    levels = [results.records.get(trial.key) for trial in results.plan.level_trials]
    records = [*(record for _, record in results.outcomes()), *levels]
    return results if all(record is not None for record in records) else None


def budgets_of(path: Path) -> tuple[str, ...]:
    """Those of the page that a study has."""
    return (*BUDGETS, FURTHER) if f"[budget.{FURTHER}]" in path.read_text() else BUDGETS


def agreement(first: Results | None, second: Results | None) -> str:
    """For how many of the arms that both campaigns judged the outcomes are the same."""
    if first is None or second is None:
        return "–"
    outcomes = [{one.arm: one.outcome for one in results.judgement.verdicts} for results in (first, second)]
    shared = [arm for arm in outcomes[0] if arm in outcomes[1]]
    same = sum(outcomes[0][arm] == outcomes[1][arm] for arm in shared)
    return f"{same} of {words.count(len(shared), 'verdict')}"


def index(found: Sequence[tuple[Study, Mapping[str, Results | None]]]) -> pd.DataFrame:
    """A row a study: its question, its source, the verdict at each budget, and whether they agree."""
    return pd.DataFrame(
        {
            "study": study.name,
            "question": study.question,
            "source": study.source,
            **{budget: NOT_RUN if (one := campaigns[budget]) is None else short_verdict(one) for budget in BUDGETS},
            "agree": agreement(*(campaigns[budget] for budget in BUDGETS)),
        }
        for study, campaigns in found
    )


def origin(results: Results) -> str:
    """Where the numbers came from, in a line."""
    measured = [record.measured for record in results.records.values() if record.measured.hardware]
    hardware, _ = Counter(one.hardware for one in measured).most_common(1)[0]
    commits = sorted({one.commit[:12] for one in measured if one.commit})
    torch = sorted({one.versions.get("torch", "") for one in measured})
    hours = sum(one.wall_s for one in measured) / 3600
    return (
        f"Campaign `{results.plan.study.digest}`: {len(results.records)} trials, {hours:.2f} hours of training on "
        f"{hardware}; torch {', '.join(torch)}; kernels {', '.join(sorted({one.kernels for one in measured}))}; "
        f"commit {', '.join(commits) or 'unknown'}."
    )


def section(study: Study, campaigns: Mapping[str, Results | None]) -> str:
    """One study's verdicts, a part for each of its campaigns."""
    parts = [f"## {study.title}", escape(study.question)]
    for budget, results in campaigns.items():
        call = f"`python -m ablate.study {study.name}{'' if budget == 'quick' else f' --budget {budget}'}`"
        parts.append(f"### {study.name}, {budget}")
        parts += [f"{call}: {NOT_RUN}."] if results is None else [call, *verdicts(results), *figures(results, budget)]
    return "\n\n".join(parts)


def verdicts(results: Results) -> list[str]:
    """Answer, warnings, accuracy of the control, table, and origin of a campaign."""
    judged = results.judgement
    rows = [records for trial, records in results.outcomes() if trial.arm == "control" and records is not None]
    control = pd.Series([record.metrics[judged.metric] for record in rows]).mean() * results.unit.factor
    return [
        f"**{escape(headline(results))}**",
        *(f"> {escape(statement)}" for statement in words.gravest(results)),
        f"Mean {judged.metric.replace('_', ' ')} of the control: {control:.2f} {results.unit.symbol}".strip() + ".",
        table(tables.verdict_rows(results)),
        *(f"**{escape(sentence)}**" for sentence in stability.sentences(results)),
        *further_tables(results),
        origin(results),
    ]


def further_tables(results: Results) -> list[str]:
    """What the sentences above are taken from."""
    contrasts, effects = frames.contrasts(results), frames.effects(results)
    tried = frames_tuning.curve_rows(results, frames_tuning.scores(results))
    seeds = words.count(results.plan.study.tuning.seeds, "seed")
    parts = {
        "Each step against the one before it:": tables.step_rows(results),
        "Effects, each over all arms:": tables.effect_rows(results, effects),
        "What each interaction that was found consists of, unadjusted:": tables.simple_effect_rows(results),
        "Every level:": stability.level_rows(results),
        "Between two levels, seed by seed:": stability.interaction_rows(results),
        f"Every setting that all arms tried, with {seeds}, on validation data:": tried,
        "The same differences in other ways:": tables.contrast_rows(results, contrasts),
        "What these seeds can tell:": tables.power_rows(results, contrasts),
    }
    return [f"{told}\n\n{table(rows)}" for told, rows in parts.items() if not rows.empty]


def figures(results: Results, budget: str) -> list[str]:
    """The figures of a campaign, written next to the page."""
    name = results.plan.study.name + ("" if budget == "quick" else f"_{budget}")
    draws = (charts.stability,) if budget == FURTHER else FIGURES
    drawn = [chart for chart in (draw(results) for draw in draws) if chart is not None]
    for chart in drawn:
        (KEPT / f"{name}_{chart.name}.png").write_bytes(chart.png())
    return [f"![{chart.alt}](results/{name}_{chart.name}.png)" for chart in drawn]


def replaced_rows(campaigns: Mapping[str, Results]) -> pd.DataFrame:
    """The results of earlier runs, and what the campaigns gave since, by the name of the study."""
    with EARLIER.open(newline="") as file:
        olds = list(csv.DictReader(file))
    return pd.DataFrame([replaced(old, campaigns[old["study"]]) for old in olds if old["study"] in campaigns])


def replaced(old: Mapping[str, str], results: Results) -> dict[str, str]:
    """One earlier result with what the campaign gave since."""
    verdict, unit = results.judgement.verdict(old["arm"]), results.unit
    mean, low, high = (float(old[name]) / 100 for name in ("difference", "low", "high"))
    repeat = [mean - math.sqrt(2) * (mean - low), mean + math.sqrt(2) * (high - mean)]
    now = math.nan if verdict.contrast is None else verdict.contrast.mean_difference
    return {
        "study": old["study"],
        "arm": old["arm"],
        "earlier run": f"{old['date']}, {old['commit']}, torch {old['torch']}, {old['kernels']} kernels",
        "earlier difference": f"{unit.signed(mean)} {unit.interval(low, high)}",
        "earlier verdict": old["verdict"],
        "a repeat": unit.interval(*repeat),
        "difference now": f"{unit.signed(now)} {words.interval(results, verdict.contrast)}",
        "verdict now": str(verdict.outcome),
        "is in the interval for a repeat": "yes" if repeat[0] <= now <= repeat[1] else "no",
    }


def keep_records(campaigns: Sequence[Results], runs: Path) -> None:
    """Plans and records of a study's campaigns as one file, the same bytes for the same records."""
    name = campaigns[0].plan.study.name
    store = RecordStore(runs, name)
    plans = [plan_path(runs, results.plan.study) for results in campaigns]
    keys = dict.fromkeys(key for results in campaigns for key in results.records)
    with zipfile.ZipFile(KEPT / f"{name}.zip", "w", compresslevel=9) as kept:
        for file in [runs / "layout.json", *plans, *map(store.path, keys)]:
            inside = zipfile.ZipInfo(str(Path("runs") / file.relative_to(runs)))
            kept.writestr(inside, file.read_bytes(), zipfile.ZIP_DEFLATED)


def main() -> int:
    """Writes the page."""
    parser = argparse.ArgumentParser(description="Writes docs/results.md from the campaigns of the shipped studies.")
    parser.add_argument("--runs", type=Path, default=default_runs(), metavar="DIR")
    parser.add_argument("--train", action="store_true", help="carry the studies out first")
    options = parser.parse_args()
    paths = [path for path in list_studies() if path.parent.name == "studies"]
    # the further levels first: quick, which they contain, then trains nothing that was not sealed with them
    for path, budget in ((one, budget) for one in paths for budget in reversed(budgets_of(one)) if options.train):
        call = [sys.executable, "-m", "ablate.study", str(path), "--budget", budget, "--runs", str(options.runs)]
        subprocess.run(call, check=True)
    found = [
        (load_study(str(path)), {budget: campaign(path, budget, options.runs) for budget in budgets_of(path)})
        for path in paths
    ]
    for old in KEPT.iterdir():
        old.unlink()
    finished = [[one for one in campaigns.values() if one is not None] for _, campaigns in found]
    for campaigns in filter(None, finished):
        keep_records(campaigns, options.runs)
    there = [one for campaigns in finished for one in campaigns]
    method = "\n\n".join(dict.fromkeys(escape(one.judgement.method) for one in there))
    sections = [section(study, campaigns) for study, campaigns in found if any(campaigns.values())]
    quick = {study.name: campaigns["quick"] for study, campaigns in found}
    before = table(replaced_rows({name: one for name, one in quick.items() if one is not None}))
    judged = ["## How they were judged", method]
    page = [MADE.strip(), table(index(found)), *sections, *judged, REPLACED.strip(), before, RECORDS.strip()]
    (DOCS / "results.md").write_text("\n\n".join(page) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
