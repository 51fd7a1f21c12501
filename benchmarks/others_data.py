"""Do the verdicts keep what they promise on data that others made? Real trainings, with what is known of them.

    python benchmarks/others_data.py            # 8 minutes on one core; writes docs/others_data.md
    python benchmarks/others_data.py --quick    # 100 studies a row instead of 1,000; prints the tables only

Every study is drawn from tests/realdata (its README names sources and licences) and judged by `judge_runs`, which
`python -m ablate.judge` calls. The generator's seed is fixed. Ends with 1 when a row is outside its bounds.
"""

from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from verdict_simulations import ALPHA, Row, as_markdown

from ablate.verdicts import power
from ablate.verdicts.judgement import Judgement
from ablate.verdicts.runs import judge_runs
from ablate.verdicts.runs_by_set import judge_sets
from ablate.verdicts.samples import Question

ROOT = Path(__file__).resolve().parent.parent
REAL = ROOT / "tests" / "realdata"
PAGE = ROOT / "docs" / "others_data.md"
QUESTION = Question(metric="accuracy", control="control", higher_is_better=True, alpha=ALPHA)
HEAD = """# The verdicts on data that others published

Made by `python benchmarks/others_data.py`; the seeds are fixed, so a rerun gives the same page, and the command fails
if a number is outside its bounds by more than two standard errors. The simulations with known truth are in
[verdict_simulations.md](verdict_simulations.md), the rules in [statistics.md](statistics.md) and [judge.md](judge.md).

## 2,000 trainings of one net

The accuracy of one CIFAR-10 net after each of 2,000 trainings (hiverge/cifar10-speedrun, MIT licence). All come from
one population, so any arms drawn from them do not differ, and every difference that is found is an error. Each
run has two accuracies, without and with test-time augmentation: a true pair, whose mean difference is {effect:.3f}
points with a standard deviation of {sd:.3f}. For most rows on power this difference is reduced by a constant, so
that not every study is expected to find it.

"""
HOUSES = """
## Two ablations on 17 households

The mean absolute error (watts) of two forecasting models with and without one component, on 17 households with 5 seeds
each that both states share (tohmetovakylbek-creator/training-randomness-ablation-validity, data CC BY 4.0). With 5
seeds no exact test can decide a single household, so the question is asked over all of them, with each household as
one unit. The difference is with minus without; the mean, its interval and the interval for a new household are those of
a random-effects model (docs/judge.md).

The authors estimated how much of the variance of a household's difference comes from the seeds. Where it is much, few
households should show a difference with 5 seeds, and where it is little, more should. This is so: the columns *lower*
and *higher* count the households whose own interval is on one side of zero, unadjusted (chance gives about one in 20).
RevIN moves many households, in both directions, so that no effect holds over all of them.

"""


def accuracies() -> np.ndarray:
    """Without and with test-time augmentation, in points, (2000, 2)."""
    with (REAL / "cifar10_speedrun_2000_runs.csv").open() as file:
        return 100 * np.array([[float(row["val_acc"]), float(row["tta_val_acc"])] for row in csv.DictReader(file)])


def households() -> dict[str, dict[str, dict[str, dict[int, float]]]]:
    """Component -> household -> on or off -> seed -> mean absolute error."""
    found: dict[str, dict[str, dict[str, dict[int, float]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(dict))
    )
    with (REAL / "training_randomness_generality.csv").open() as file:
        for row in csv.DictReader(file):
            name = f"{row['component']} ({row['arch']})"
            found[name][row["house"]][row["state"]][int(row["seed"])] = float(row["test_mae"])
    return found


def drawn(generator: np.random.Generator, values: np.ndarray, sizes: dict[str, int]) -> dict[str, dict[int, float]]:
    """Arms of so many runs each, no run in two of them."""
    chosen = generator.choice(values, sum(sizes.values()), replace=False)
    parts = np.split(chosen, np.cumsum(list(sizes.values()))[:-1])
    return {name: dict(enumerate(map(float, part))) for name, part in zip(sizes, parts, strict=True)}


def is_different(judgement: Judgement) -> bool:
    return any(one.outcome in ("better", "worse") for one in judgement.verdicts)


def covers(judgement: Judgement, truth: float) -> bool:
    contrast = judgement.verdicts[0].contrast
    assert contrast is not None
    assert contrast.low is not None
    assert contrast.high is not None
    return contrast.low <= truth <= contrast.high


def alike_rows(studies: int) -> Iterator[Row]:
    """Arms that are alike: how often one is called different, and how often the interval holds 0."""
    values = accuracies()[:, 1]
    for n in (6, 8, 12):
        for m in (1, 4, 15):
            generator = np.random.default_rng([n, m])
            sizes = {"control": n} | {f"arm{i}": n for i in range(m)}
            found = [judge_runs(drawn(generator, values, sizes), QUESTION) for _ in range(studies)]
            setting = f"{m} contrast{'s' * (m > 1)}, {n} seeds, paired"
            wrong = float(np.mean([is_different(one) for one in found]))
            yield Row("an arm wrongly called different (family-wise)", setting, wrong, 0.0, ALPHA, studies)
            if m == 1:
                inside = float(np.mean([covers(one, 0.0) for one in found]))
                yield Row("coverage of the 95 % interval", setting, inside, 0.94, 0.96, studies)


def unpaired_rows(studies: int) -> Iterator[Row]:
    """The same as two samples, with equal and unequal numbers of runs."""
    values = accuracies()[:, 1]
    question = Question(metric="accuracy", control="control", higher_is_better=True, alpha=ALPHA, unpaired=True)
    for own, n, m in ((6, 6, 1), (8, 8, 1), (8, 8, 4), (9, 6, 1), (10, 5, 4)):
        generator = np.random.default_rng([own, n, m])
        sizes = {"control": own} | {f"arm{i}": n for i in range(m)}
        found = [judge_runs(drawn(generator, values, sizes), question) for _ in range(studies)]
        setting = f"{m} contrast{'s' * (m > 1)}, {n} runs against {own}, two samples"
        wrong = float(np.mean([is_different(one) for one in found]))
        yield Row("an arm wrongly called different (family-wise)", setting, wrong, 0.0, ALPHA, studies)
        if m == 1:
            inside = float(np.mean([covers(one, 0.0) for one in found]))
            yield Row("coverage of the 95 % Welch interval", setting, inside, 0.94, 0.96, studies)


def power_rows(studies: int) -> Iterator[Row]:
    """The known effect, as it is and made smaller: found as often as the plan promises, and covered by its interval."""
    runs = accuracies()
    differences = runs[:, 1] - runs[:, 0]
    truth, sd = float(differences.mean()), float(differences.std())
    for n in (6, 8, 12):
        smallest = power.detectable_effect(n, alpha=ALPHA, num_contrasts=1)
        assert smallest is not None
        for effect in (truth / sd, smallest, 0.6 * smallest):
            promised = power.power(effect, n, alpha=ALPHA, num_contrasts=1)
            generator = np.random.default_rng([n, round(100 * effect)])
            found = [_pairs(generator, runs, effect * sd - truth, n) for _ in range(studies)]
            better = float(np.mean([one.verdicts[0].outcome == "better" for one in found]))
            setting = f"a difference of {effect * sd:.3f} points ({effect:.2f} SDs), {n} seeds, paired"
            bounds = max(0.0, promised - 0.05), min(1.0, promised + 0.05)
            yield Row(f"power: promised {100 * promised:.0f} %", setting, better, *bounds, studies)
        inside = float(np.mean([covers(one, effect * sd) for one in found]))
        yield Row("coverage of the 95 % interval", setting, inside, 0.94, 0.96, studies)


def _pairs(generator: np.random.Generator, runs: np.ndarray, shift: float, n: int) -> Judgement:
    chosen = runs[generator.choice(len(runs), n, replace=False)]
    arms = {"control": chosen[:, 0], "augmented": chosen[:, 1] + shift}
    return judge_runs({name: dict(enumerate(map(float, values))) for name, values in arms.items()}, QUESTION)


def household_table() -> str:
    """What comes of each of the two ablations over the households."""
    head = (
        "component", "mean difference", "95 % interval", "adjusted p", "verdict", "SD of households",
        "a new household", "lower", "higher", "the authors' share of the seeds (median)",
        "largest distance from their mean of a household",
    )  # fmt: skip
    lines = [f"| {' | '.join(head)} |", f"| {' | '.join(['---'] * len(head))} |"]
    question = Question(metric="test_mae", control="off", higher_is_better=False, alpha=ALPHA)
    for name, sets in households().items():
        judgement = judge_sets(sets, question)
        (verdict,) = judgement.verdicts
        contrast = verdict.contrast
        assert contrast is not None
        found = contrast.pooled
        assert found is not None
        lines.append(
            f"| {name} | {found.mean:+.2f} | [{found.low:+.2f}, {found.high:+.2f}] | {contrast.adjusted_p:.3f} | "
            f"{verdict.outcome} | {found.tau:.2f} | [{found.prediction_low:+.2f}, {found.prediction_high:+.2f}] "
            f"| {' | '.join(_compared(judgement, name))} |"
        )
    return "\n".join(lines).replace("-", "−").replace("−−−", "---") + "\n"


def _compared(judgement: Judgement, component: str) -> tuple[str, str, str, str]:
    """Households lower and higher by their own intervals; the authors' share, and how far their means are from ours."""
    arch = component.rpartition("(")[2].rstrip(")")
    with (REAL / "training_randomness_published_per_house.csv").open() as file:
        theirs = {row["house"]: row for row in csv.DictReader(file) if row["arch"] == arch}
    ours = {one.data_set: one.mean_difference for one in judgement.per_set}
    distance = max(abs(ours[house] + float(row["mean_effect_w"])) for house, row in theirs.items())  # off minus on
    share = np.median([float(row["share_seed"]) for row in theirs.values()])
    lower = sum((one.high or 0.0) < 0 for one in judgement.per_set)
    higher = sum((one.low or 0.0) > 0 for one in judgement.per_set)
    return str(lower), str(higher), f"{share:.2f}", f"{distance:.4f}"


def rows(studies: int) -> list[Row]:
    """Every row, of so many studies each."""
    return [*alike_rows(studies), *unpaired_rows(studies), *power_rows(studies)]


def main() -> int:
    parser = argparse.ArgumentParser(description="Draws studies from results that others published and judges them.")
    parser.add_argument("--quick", action="store_true", help="100 studies a row; the tables are printed only")
    quick = parser.parse_args().quick
    found = rows(100 if quick else 1_000)
    tables = as_markdown(found), household_table()
    print(*tables, sep="\n\n")
    if not quick:
        difference = np.diff(accuracies(), axis=1)
        head = HEAD.format(effect=difference.mean(), sd=difference.std())
        PAGE.write_text(f"{head}{tables[0]}\n{HOUSES}{tables[1]}")
    broken = [row for row in found if not row.kept(3.0 if quick else 2.0)]
    for row in broken:
        print(f"not kept: {row.promise}, {row.setting}: {100 * row.found:.1f} %")
    return 1 if broken else 0


if __name__ == "__main__":
    raise SystemExit(main())
