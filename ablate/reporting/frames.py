"""Results to pandas frames of numbers: what the figures draw and the tables print.

Values of the metric are in printed units (accuracy in percent, differences in points); a number that is not known is
nan. Rows are in the order of the plan, the control first.
"""

from __future__ import annotations

import dataclasses
import math
from functools import lru_cache

import pandas as pd

from ablate.design.match import COST_FIELDS, images_seen
from ablate.design.plan import CONTROL, NOISE_FLOOR
from ablate.design.record import EpochPoint
from ablate.reporting import words
from ablate.reporting.results import Results
from ablate.reporting.style import FEWEST_SEEDS, ratio, unit
from ablate.verdicts.statements import mixed_kernels

METRICS = ("test_accuracy", "test_loss", "val_accuracy", "val_loss", "train_loss")
COSTS = (
    "params",
    "macs",
    "flops",
    "fvcore_flops",
    "train_flops",
    "inference_peak_bytes",
    "inference_peak_block_bytes",
    "train_peak_bytes",
    "latency_ms",
    "latency_low_ms",
    "latency_high_ms",
    "latency_batch_ms",
    "latency_batch_low_ms",
    "latency_batch_high_ms",
    "latency_busy",
)


def trials(results: Results) -> pd.DataFrame:
    """A row a planned trial: arm, seed, status (``missing`` where there is no record), metrics, measurements, reason.

    Metrics are as recorded, from 0 to 1.
    """
    return _trial_rows(results).copy()


@lru_cache(maxsize=2)
def _trial_rows(results: Results) -> pd.DataFrame:
    """The frame of ``trials``: a page asks for it many times, and of many trials it takes seconds."""
    rows: list[dict[str, object]] = []
    metrics = metric_names(results)
    for trial, record in results.outcomes():
        row: dict[str, object] = {"arm": trial.arm, "seed": trial.seed, "key": trial.key, "status": "missing"}
        if record is not None:
            measured = {k: v for k, v in vars(record.measured).items() if k != "versions"}
            row |= {"status": record.status, "reason": record.reason, "notes": "; ".join(record.notes)}
            row |= {name: record.metrics.get(name, math.nan) for name in metrics} | measured
        rows.append(row)
    frame = pd.DataFrame(rows, columns=["arm", "seed", "key", "status", "reason", "notes", *metrics, *_MEASURED])
    order = {name: place for place, name in enumerate(results.arms)}
    return frame.sort_values(["arm", "seed"], key=lambda column: column.map(order) if column.name == "arm" else column)


_MEASURED = ("train_s", "eval_s", "wall_s", "images_per_s", "peak_bytes", "device", "threads", "hardware", "commit",
             "started_at", "attempts", "resumed")  # fmt: skip


def metric_names(results: Results) -> tuple[str, ...]:
    """The metrics of the trials; with the user's own training code, the deciding one and what else it returned."""
    if not results.plan.study.own_training:
        return METRICS
    decision = results.plan.study.decision
    returned = (name for record in results.records.values() for name in record.metrics)
    return tuple(dict.fromkeys([*decision.metrics, *decision.also, *returned]))


def scores(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """arm, seed, value of the finished trials in ``trials``' frame, in the metric's printed unit."""
    finished = table[table["status"] == "finished"]
    value = finished[metric].astype(float) * unit(metric).factor
    return pd.DataFrame({"arm": finished["arm"], "seed": finished["seed"], "value": value}).dropna(ignore_index=True)


def chance(results: Results) -> float | None:
    """What guessing the most frequent class reaches, in percent; None for a loss, or where no record says it.

    Records at other levels of the study do not count: another data set has other classes.
    """
    known = [record.chance for _, record in results.outcomes() if record is not None and record.chance]
    return 100 * max(known) if known and results.unit.symbol == "%" else None


def summary(values: pd.DataFrame, arms: tuple[str, ...], alpha: float = 0.05, *, percent: bool = True) -> pd.DataFrame:
    """arm, n, mean, sd, low, high: a row an arm, with Student's t interval of its mean at ``1 - alpha``.

    An arm with fewer than ``FEWEST_SEEDS`` has no interval, an arm with none has no mean.

    Args:
        values: ``scores``.
        arms: in the order of the rows.
        alpha: of the intervals.
        percent: the values are accuracies in percent, and no interval reaches beyond 0 or 100.
    """
    from scipy import stats

    groups = values.groupby("arm")["value"]
    table = pd.DataFrame({"n": groups.size(), "mean": groups.mean(), "sd": groups.std()}).reindex(arms)
    table["n"] = table["n"].fillna(0).astype(int)
    spread = (table["sd"] / table["n"] ** 0.5).where(table["n"] >= FEWEST_SEEDS)
    half = stats.t.ppf(1 - alpha / 2, table["n"].clip(lower=2) - 1) * spread
    low, high = table["mean"] - half, table["mean"] + half
    if percent:
        low, high = low.clip(lower=0), high.clip(upper=100)
    return table.assign(low=low, high=high).rename_axis("arm").reset_index()


def pairs(results: Results) -> pd.DataFrame:
    """arm, seed, value: arm minus control in each paired seed, for every arm that has a contrast."""
    factor = results.unit.factor
    rows = [
        (arm, seed, difference * factor)
        for arm in results.compared
        if (contrast := results.judgement.verdict(arm).contrast) is not None
        for seed, difference in zip(contrast.seeds, contrast.differences, strict=True)
    ]
    return pd.DataFrame(rows, columns=["arm", "seed", "value"])


def contrasts(results: Results) -> pd.DataFrame:
    """arm, outcome, n, mean, low, high, p, adjusted_p and the rest of each Contrast; nan where there is none.

    Intervals of fewer than ``FEWEST_SEEDS`` pairs are left out.
    """
    factor = results.unit.factor
    rows: list[dict[str, object]] = []
    for arm in results.compared:
        verdict = results.judgement.verdict(arm)
        row: dict[str, object] = {"arm": arm, "outcome": verdict.outcome}
        if (contrast := verdict.contrast) is not None:
            plain = {f.name: getattr(contrast, f.name) for f in dataclasses.fields(contrast)}
            row |= {name: plain[name] for name in _AS_IS} | {"n": contrast.n}
            row |= {new: _times(plain[name], factor) for name, new in _SCALED.items()}
        rows.append(row)
    frame = pd.DataFrame(rows, columns=["arm", "outcome", "n", *_SCALED.values(), *_AS_IS])
    frame = frame.astype(dict.fromkeys(["n", *_SCALED.values(), *_AS_IS], float))
    intervals = [name for name in _SCALED.values() if name.endswith(("low", "high"))]
    frame[intervals] = frame[intervals].where(frame["n"] >= FEWEST_SEEDS)
    return frame


_SCALED = {
    "mean_difference": "mean",
    "median_difference": "median",
    "low": "low",
    "high": "high",
    "sd_difference": "sd",
    "joint_low": "joint_low",
    "joint_high": "joint_high",
    "welch_low": "welch_low",
    "welch_high": "welch_high",
    "repeat_low": "repeat_low",
    "repeat_high": "repeat_high",
    "images_low": "images_low",
    "images_high": "images_high",
    "detectable": "detectable",
}
_AS_IS = ("p", "adjusted_p", "equivalence_holm_p", "correlation", "seed_share", "both_share", "image_share",
          "seeds_to_settle")  # fmt: skip


def _times(value: float | None, factor: float) -> float:
    return math.nan if value is None else value * factor


def curves(results: Results) -> pd.DataFrame:
    """arm, seed, epoch and what was measured then; accuracies in percent. A row an epoch of a trial with a curve."""
    points = [
        (trial.arm, trial.seed, point)
        for trial, record in results.outcomes()
        if record is not None
        for point in record.curve
    ]
    names = dict.fromkeys(name for *_, point in points for name in point.values)
    rows = [
        {"arm": arm, "seed": seed, "epoch": point.epoch}
        | {name: value * (100 if name.endswith("accuracy") else 1) for name, value in point.values.items()}
        for arm, seed, point in points
    ]
    return pd.DataFrame(rows, columns=["arm", "seed", "epoch", *names])


def step_curves(results: Results) -> pd.DataFrame:
    """arm, seed, epoch, train_loss, train_accuracy in percent, at about 100 points of each trial's training.

    ``epoch`` counts in fractions, such as 0.25. Records of earlier versions have a point an epoch.
    """
    rows = [
        (trial.arm, trial.seed, point.epoch - 1 + (place + 1) / len(losses), loss, 100 * accuracy)
        for trial, record in results.outcomes()
        if record is not None
        for point in record.curve
        if isinstance(point, EpochPoint)
        for losses, accuracies in [_within(point)]
        for place, (loss, accuracy) in enumerate(zip(losses, accuracies, strict=True))
    ]
    return pd.DataFrame(rows, columns=["arm", "seed", "epoch", "train_loss", "train_accuracy"])


def _within(point: EpochPoint) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Losses and accuracies of an epoch's parts; the whole epoch is one where the record tells no more."""
    return (point.step_losses or (point.train_loss,)), (point.step_accuracies or (point.train_accuracy,))


def mean_curves(table: pd.DataFrame, column: str, arms: tuple[str, ...]) -> pd.DataFrame:
    """arm, epoch, value: the mean over seeds of one column of ``curves``; arms without a curve are left out."""
    means = table.groupby(["arm", "epoch"], observed=True)[column].mean()
    present = [arm for arm in arms if arm in means.index.get_level_values("arm")]
    return means.reindex(present, level="arm").rename("value").reset_index()


def arm_costs(results: Results) -> pd.DataFrame:
    """The arm and every cost field, with the mean measured peak and training time.

    nan where a number is not known; measured ones also where trials ran on different kernels.
    """
    table = pd.DataFrame(
        [{"arm": arm} | {name: results.cost(arm, name) for name in COSTS} for arm in results.arms],
        columns=["arm", *COSTS],
    ).astype(dict.fromkeys(COSTS, float))
    measured = trials(results)
    comparable = not mixed_kernels(record for _, record in results.outcomes() if record is not None)
    done = measured[(measured["status"] == "finished") & comparable].groupby("arm")
    table["measured_peak_bytes"] = table["arm"].map(done["peak_bytes"].mean().astype(float))
    table["train_s"] = table["arm"].map(done["train_s"].mean().astype(float))
    return table


def against_cost(summary_table: pd.DataFrame, cost_table: pd.DataFrame) -> pd.DataFrame:
    """``summary`` joined with ``arm_costs`` on the arm, without arms that have no mean."""
    return summary_table.merge(cost_table, on="arm", how="left").dropna(subset="mean", ignore_index=True)


def effects(results: Results) -> pd.DataFrame:
    """term, contrast, label, mean, low, high, p, adjusted_p, outcome, order (1 main, 2 interaction); printed units."""
    factor = results.unit.factor
    rows = [
        {
            "term": effect.term,
            "contrast": effect.contrast.replace(" - ", " − ").replace(" x ", " × "),
            "label": effect.term.replace(":", " × "),
            "order": effect.term.count(":") + 1,
            "mean": effect.estimate * factor,
            "low": _times(effect.low, factor),
            "high": _times(effect.high, factor),
            "p": effect.p,
            "adjusted_p": effect.adjusted_p,
            "outcome": words.effect_outcome(effect),
            "expected": words.expectation(effect),
            "aliases": ", ".join(effect.aliases),
        }
        for effect in results.judgement.effects
    ]
    names = [
        "term",
        "contrast",
        "label",
        "order",
        "mean",
        "low",
        "high",
        "p",
        "adjusted_p",
        "outcome",
        "expected",
        "aliases",
    ]
    return pd.DataFrame(rows, columns=names)


def importance(results: Results, table: pd.DataFrame) -> pd.DataFrame:
    """factor, share, mean: Optuna's share of the variance of single trials, and the largest main effect; the seed last.

    Args:
        results: of a factorial study.
        table: its ``effects``.
    """
    largest_first = table[table["order"] == 1].sort_values("mean", key=abs, ascending=False, kind="stable")
    mains = largest_first.drop_duplicates("term").set_index("term")["mean"]
    shares = results.rank_factors()
    rows = [(name, share, mains.get(name, math.nan)) for name, share in shares.items()]
    frame = pd.DataFrame(rows, columns=["factor", "share", "mean"])
    return frame.sort_values("factor", key=lambda names: names == "seed", kind="stable", ignore_index=True)


def cells(results: Results, values: pd.DataFrame) -> pd.DataFrame:
    """``scores`` with a column for each factor, of the arms that have levels: what the interaction figure averages."""
    levels = {arm.name: arm.factors for arm in results.plan.arms if arm.factors}
    factors = list(dict.fromkeys(name for arm in levels.values() for name in arm))
    rows = values[values["arm"].isin(levels)]
    return rows.assign(**{name: [str(levels[arm].get(name, "")) for arm in rows["arm"]] for name in factors})


def matched(results: Results) -> pd.DataFrame:
    """change, matched, arm, mean, low, high, ratio: each arm at its own cost and at the control's, where both ran.

    ``ratio`` is the arm's cost over the control's, in the quantity that the study matches. Empty where it matches none.
    """
    rows: list[dict[str, object]] = []
    table = contrasts(results).set_index("arm")
    for arm in results.plan.arms:
        if arm.match is None or arm.name not in table.index:
            continue
        field = COST_FIELDS[arm.match.quantity]
        change = arm.name.removesuffix(f"@{arm.match.quantity}")
        unmatched_too = change != arm.name and change in table.index
        couple = [(False, change)] * unmatched_too + [(True, arm.name)]
        for is_matched, name in couple:
            spent = ratio(_spent(results, name, field), _spent(results, CONTROL, field))
            row = {"change": change, "matched": is_matched, "arm": name, "ratio": spent}
            rows.append(row | {column: table.loc[name, column] for column in ("mean", "low", "high")})
    frame = pd.DataFrame(rows, columns=["change", "matched", "arm", "mean", "low", "high", "ratio"])
    return frame.astype(dict.fromkeys(["mean", "low", "high", "ratio"], float))


def _spent(results: Results, name: str, field: str) -> float | None:
    """What an arm costs in the quantity that is matched; of training FLOPs, those of all the images that it sees."""
    spent, arm = results.cost(name, field), results.arm(name)
    if field != "train_flops" or spent is None:
        return spent
    return spent * images_seen(arm.recipe, arm.data, results.plan.data)


def steps(results: Results, points: pd.DataFrame) -> pd.DataFrame:
    """``against_cost``'s rows of an add-one-in study in the order of its steps; ``step`` says what each one changed."""
    study = results.plan.study
    arms = [arm for arm in results.plan.arms if arm.name != NOISE_FLOOR]
    if study.unmatched:  # the matched ones have a figure of their own
        arms = [arm for arm in arms if arm.match is None or arm.match.identity]
    told = {arm.name: "control" if arm.name == CONTROL else words.change(arm, study) for arm in arms}
    rows = points[points["arm"].isin(list(told))]
    return rows.assign(step=[told[arm].replace("\N{NO-BREAK SPACE}", " ") for arm in rows["arm"]]).reset_index(
        drop=True
    )
