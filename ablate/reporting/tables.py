"""Frames of printed text, with headings as people read them: what page, note and terminal lay out."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterable

import pandas as pd

from ablate.design.own_training import OwnTraining
from ablate.design.plan import CONTROL
from ablate.reporting import frames, frames_images, frames_tuning, words
from ablate.reporting.results import Results
from ablate.reporting.style import number, p_text, ratio
from ablate.verdicts.search import curve_metric


def verdict_rows(results: Results) -> pd.DataFrame:
    """The table of the study: arm, change, difference, interval, p, adjusted p, verdict, expected, MACs ratio.

    Without the expectations where the study file has none.
    """
    measure, rows = results.unit, []
    for arm in results.compared:
        verdict = results.judgement.verdict(arm)
        contrast = verdict.contrast
        rows.append(
            {
                "arm": arm,
                "change": words.change(results.arm(arm), results.plan.study),
                f"difference{measure.behind}": measure.signed(contrast.mean_difference if contrast else None),
                f"{words.confidence(results)} interval": words.interval(results, contrast),
                "p": p_text(contrast.p if contrast else None),
                "adjusted p": p_text(contrast.adjusted_p if contrast else None),
                "verdict": verdict.outcome,
                "expected": words.expectation(verdict) or "–",
                "MACs / control": times(ratio(results.cost(arm, "macs"), results.cost(CONTROL, "macs"))),
            }
        )
    table = pd.DataFrame(rows)
    used = {"expected": bool(results.plan.study.expect), "MACs / control": results.knows("macs")}
    return table.drop(columns=[name for name, there in used.items() if not there], errors="ignore")


def times(value: float | None) -> str:
    """``"1.00×"``."""
    return "–" if value is None or math.isnan(value) else f"{value:.2f}×"


def arm_rows(results: Results, summary: pd.DataFrame) -> pd.DataFrame:
    """The table behind the accuracy figure; with each arm's best setting where the study tunes."""
    measure = results.unit
    table = pd.DataFrame(
        {
            "arm": summary["arm"],
            "seeds": summary["n"],
            f"mean {measure.axis}": _column(summary["mean"], measure.digits),
            f"{words.confidence(results)} interval": _intervals(summary, measure.digits),
            f"sd{measure.behind}": _column(summary["sd"], measure.digits),
        }
    )
    if results.plan.study.tuned:
        table["best setting"] = [frames_tuning.best_text(results, arm) for arm in summary["arm"]]
    return table


def _column(values: Iterable[float], digits: int, factor: float = 1, *, signed: bool = False) -> list[str]:
    return [number(value, digits, factor, signed=signed) for value in values]


def _intervals(
    table: pd.DataFrame, digits: int, *, signed: bool = False, names: tuple[str, str] = ("low", "high")
) -> list[str]:
    lows, highs = (_column(table[name], digits, signed=signed) for name in names)
    return ["–" if low == "–" else f"[{low}, {high}]" for low, high in zip(lows, highs, strict=True)]


def contrast_rows(results: Results, table: pd.DataFrame) -> pd.DataFrame:
    """The table behind the figure of differences: for one arm, for all jointly, unpaired, for new images."""
    measure, digits = results.unit, results.unit.digits
    printed = pd.DataFrame(
        {
            "arm": table["arm"],
            "seeds": _column(table["n"], 0),
            f"difference{measure.behind}": _column(table["mean"], digits, signed=True),
            "median": _column(table["median"], digits, signed=True),
            "paired interval": _intervals(table, digits, signed=True),
            "joint interval": _intervals(table, digits, signed=True, names=("joint_low", "joint_high")),
            "a repeat with new seeds": _intervals(table, digits, signed=True, names=("repeat_low", "repeat_high")),
            "without pairing (Welch)": _intervals(table, digits, signed=True, names=("welch_low", "welch_high")),
            "for new test examples too": _intervals(table, digits, signed=True, names=("images_low", "images_high")),
            "correlation of pairs": _column(table["correlation"], 2),
        }
    )
    return _known(results, printed)


# Of the variance over new seeds and new test images.
SHARES = {"only more seeds": "seed_share", "either": "both_share", "only more test examples": "image_share"}


def _shares(values: pd.Series) -> list[str]:
    return [f"{100 * value:.0f} %" if not math.isnan(value) else "–" for value in values]


def power_rows(results: Results, table: pd.DataFrame) -> pd.DataFrame:
    """What the seeds could have found, and what more of them would bring."""
    measure, digits = results.unit, results.unit.digits
    printed = pd.DataFrame(
        {
            "arm": table["arm"],
            f"sd of the differences{measure.behind}": _column(table["sd"], digits),
            **{f"variance that {what} would remove": _shares(table[name]) for what, name in SHARES.items()},
            "p for equivalence (Holm)": [p_text(p) for p in table["equivalence_holm_p"]],
            f"found with 80 % power{measure.behind}": _column(table["detectable"], digits),
            "seeds to settle": _column(table["seeds_to_settle"].where(table["outcome"] == "undecided"), 0),
        }
    )
    return _known(results, printed)


def exploratory_rows(results: Results) -> pd.DataFrame:
    """The further metrics' contrasts, unadjusted; empty where the study names none."""
    return pd.DataFrame(
        [
            {
                "arm": contrast.arm,
                "metric": unit.axis,
                "control": unit.value(contrast.control_mean),
                "arm's mean": unit.value(contrast.arm_mean),
                "difference": unit.signed(contrast.mean_difference),
                "interval": unit.interval(contrast.low, contrast.high),
                "p, unadjusted": p_text(contrast.p),
            }
            for contrast in results.judgement.exploratory
            for unit in [results.unit_of(contrast.metric, contrast.mean_difference or contrast.control_mean)]
        ]
    )


def effect_rows(results: Results, table: pd.DataFrame) -> pd.DataFrame:
    """The table behind the figure of effects; aliases and expectations only where the study has some."""
    measure = results.unit
    printed = pd.DataFrame(
        {
            "effect": table["label"],
            "what is subtracted": table["contrast"],
            f"estimate{measure.behind}": _column(table["mean"], measure.digits, signed=True),
            f"{words.confidence(results)} interval": _intervals(table, measure.digits, signed=True),
            "p": [p_text(p) for p in table["p"]],
            "adjusted p": [p_text(p) for p in table["adjusted_p"]],
            "verdict": table["outcome"],
            "expected": table["expected"].replace("", "–"),
            "aliased with": table["aliases"],
        }
    )
    empty = {"aliased with": not table["aliases"].any(), "expected": not table["expected"].any()}
    return printed.drop(columns=[name for name, unused in empty.items() if unused])


def importance_rows(ranked: pd.DataFrame) -> pd.DataFrame:
    """factor, importance and main effect, printed; an empty frame stays empty."""
    if ranked.empty:
        return pd.DataFrame()
    return pd.DataFrame(
        {
            "factor": ranked["factor"],
            "importance (% of variance)": _column(ranked["share"], 0, 100),
            "main effect": _column(ranked["mean"], 2, signed=True),
        }
    )


def step_rows(results: Results) -> pd.DataFrame:
    """Each step of the way to another net against the one before; empty where arms are not built upon another."""
    unit = results.unit
    return pd.DataFrame(
        [
            {
                "step": words.change(results.arm(step.arm), results.plan.study),
                f"difference{unit.behind}": unit.signed(step.mean_difference),
                f"{words.confidence(results)} interval": words.interval(results, step),
                "p": p_text(step.p),
                "adjusted p": p_text(step.adjusted_p),
            }
            for step in results.judgement.steps
        ]
    )


def disagreement_rows(results: Results) -> pd.DataFrame:
    """The images that the arm furthest from the control gets right and the control wrong, or the other way round."""
    arm = frames_images.widest(results)
    if arm is None:
        return pd.DataFrame()
    table, called = frames_images.disagreements(results, arm), results.plan.data.class_name
    return pd.DataFrame(
        {
            "test example": table["image"],
            "label": ["–" if label == frames_images.NO_LABEL else called(label) for label in table["label"]],
            "control right": [f"{100 * share:.0f} %" for share in table["control_right"]],
            f"{arm} right": [f"{100 * share:.0f} %" for share in table["arm_right"]],
            f"{arm} mostly answers": [called(answer) for answer in table["answer"]],
        }
    )


def simple_effect_rows(results: Results) -> pd.DataFrame:
    """What each interaction that was found consists of: one factor's effect at each level of the other, unadjusted."""
    unit = results.unit
    return pd.DataFrame(
        [
            {
                "effect": f"{simple.factor} at {simple.at}",
                "what is subtracted": simple.contrast.replace(" - ", " − "),
                f"estimate{unit.behind}": unit.signed(simple.estimate),
                f"{words.confidence(results)} interval": unit.interval(simple.low, simple.high),
            }
            for effect in results.judgement.effects
            if ":" in effect.term and effect.outcome in ("better", "worse")
            for simple in effect.simple
        ]
    )


def compute_rows(results: Results, table: pd.DataFrame) -> pd.DataFrame:
    """What each arm computes, for one image."""
    control = table.loc[table["arm"] == CONTROL, "macs"]
    base = float(control.iloc[0]) if len(control) else math.nan
    printed = pd.DataFrame(
        {
            "arm": table["arm"],
            "parameters": _whole(table["params"]),
            "MACs": _whole(table["macs"]),
            "MACs / control": [times(value / base) for value in table["macs"]],
            "FLOPs (2 × MACs)": _whole(table["flops"]),
            "fvcore's own total": _whole(table["fvcore_flops"]),
            "training FLOPs": _whole(table["train_flops"]),
        }
    )
    return _known(results, printed)


def memory_rows(results: Results, table: pd.DataFrame) -> pd.DataFrame:
    """What each arm needs in memory, under names that say how it was counted, and how long it takes."""
    printed = pd.DataFrame(
        {
            "arm": table["arm"],
            "inference peak, layer by layer (KB)": _column(table["inference_peak_bytes"], 1, 1e-3),
            "inference peak, block as one operation (KB)": _column(table["inference_peak_block_bytes"], 1, 1e-3),
            "training step, live tensors (MB)": _column(table["train_peak_bytes"], 1, 1e-6),
            "training, measured on the device (MB)": _column(table["measured_peak_bytes"], 1, 1e-6),
            "latency, batch 1 (ms)": _latencies(table, "latency"),
            "latency, training batch (ms)": _latencies(table, "latency_batch"),
            "training time a trial (s)": _column(table["train_s"], 1),
        }
    )
    return _known(results, printed)


def _known(results: Results, table: pd.DataFrame) -> pd.DataFrame:
    """The table; with the user's own training code, without the columns that it does not report."""
    if not results.plan.study.own_training:
        return table
    kept = [name for name in table.columns[1:] if (table[name] != "–").any()]
    return table[["arm", *kept]] if kept else pd.DataFrame()


def _latencies(table: pd.DataFrame, name: str) -> list[str]:
    """Median, and the range of the repeats; marked where other work took the processor meanwhile."""
    medians = _column(table[f"{name}_ms"], 2)
    ranges = _intervals(table, 2, names=(f"{name}_low_ms", f"{name}_high_ms"))
    busy = [", busy machine" if value == 1 else "" for value in table["latency_busy"]]
    return [
        median if spread == "–" else f"{median} {spread}{note}"
        for median, spread, note in zip(medians, ranges, busy, strict=True)
    ]


def _whole(values: Iterable[float]) -> list[str]:
    return ["–" if math.isnan(value) else f"{value:,.0f}" for value in values]


def record_rows(results: Results, table: pd.DataFrame) -> pd.DataFrame:
    """Every planned trial and what came of it, one line each."""
    study = results.plan.study
    further = study.decision.also if study.own_training else ("val_accuracy", "test_loss")
    units = [results.unit_of(name) for name in dict.fromkeys([results.judgement.metric, *further])]
    return pd.DataFrame(
        {"arm": table["arm"], "seed": table["seed"], "status": table["status"]}
        | {u.axis: _column(table[u.metric].astype(float), u.digits, u.factor) for u in units}
        | {
            "time (s)": _column(table["wall_s"].astype(float), 1),
            "attempts": _column(table["attempts"].astype(float), 0),
            "trial key": table["key"],
            "remark": [_remark(*pair) for pair in zip(table["reason"], table["notes"], strict=True)],
        }
    )


def _remark(*parts: object) -> str:
    return "; ".join(part.strip()[:300] for part in parts if isinstance(part, str) and part.strip())


def provenance(results: Results, trials: pd.DataFrame) -> pd.DataFrame:
    """Where the numbers come from, as two columns: what, and its value."""
    study, made = results.plan.study, trials[trials["status"] != "missing"]
    started = made["started_at"].dropna()
    rows = {
        "study": f"{study.name} (budget {study.budget})",
        "campaign digest": study.digest,
        **_trained(results),
        "records": f"{len(made):,} of {len(trials):,} planned",
        "first and last start (UTC)": f"{_date(started.min())} to {_date(started.max())}" if len(started) else "–",
        "hardware": _distinct(made["hardware"]),
        "device": _distinct(made["device"]),
        "kernels": ", ".join(words.kernels(results)) or "–",
        "threads a trial": _distinct(made["threads"]),
        "commit": _distinct(made["commit"]),
        "training time, all trials": words.training_time(results),
    }
    rows |= {f"version of {name}": text for name, text in versions(results).items()}
    return pd.DataFrame({"what": list(rows), "value": list(rows.values())})


def _trained(results: Results) -> dict[str, str]:
    """What was trained on; with the user's own training code, what trained."""
    data, model = results.plan.data, results.plan.control.spec
    if isinstance(model, OwnTraining):
        return {"trained by": data.name, "digest of its source": model.digest or "–"}
    return {
        "data": f"{data.name}: {data.num_train:,} training and {data.num_test:,} test images, "
        f"{data.channels} × {data.height} × {data.width}, {data.num_classes} classes"
    }


def versions(results: Results) -> dict[str, str]:
    """Library -> version; several where the records disagree."""
    found: dict[str, dict[str, None]] = {}
    for record in results.records.values():
        for name, version in record.measured.versions.items():
            found.setdefault(name, {})[version] = None
    return {name: ", ".join(found[name]) for name in sorted(found)}


def _date(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%d %H:%M")


def _distinct(values: pd.Series) -> str:
    return ", ".join(dict.fromkeys(str(value) for value in values.dropna() if value != "")) or "–"


def matched_rows(results: Results) -> pd.DataFrame:
    """How each arm's width was solved for equal cost; empty where the study matches nothing."""
    return pd.DataFrame(
        [
            {"arm": arm.name, "from": arm.parent, "width": f"{arm.match.width_mult:g}", "outcome": str(arm.match)}
            for arm in results.plan.arms
            if arm.match is not None
        ]
    )


def curve_rows(results: Results, table: pd.DataFrame) -> pd.DataFrame:
    """The table behind the learning curves, mean over seeds, at up to six epochs; empty where there are none."""
    name = curve_metric(results.plan.study)
    if name not in table:
        return pd.DataFrame()
    means, digits = frames.mean_curves(table.dropna(subset=name), name, results.arms), results.unit_of(name).digits
    epochs = sorted(means["epoch"].unique())
    shown = [epochs[round(i * (len(epochs) - 1) / 5)] for i in range(6)] if len(epochs) > 6 else epochs
    wide = means[means["epoch"].isin(shown)].pivot_table(index="arm", columns="epoch", values="value", sort=False)
    printed = pd.DataFrame({f"epoch {epoch}": _column(wide[epoch], digits) for epoch in shown}, index=wide.index)
    return printed.reset_index()
