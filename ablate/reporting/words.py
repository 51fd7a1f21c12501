"""Verdicts, rule and expectations in plain sentences, the same in terminal, page and note."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from ablate.design.arms import WIDTH_MULT
from ablate.design.plan import CONTROL, NOISE_FLOOR, Arm
from ablate.design.search import search_trials
from ablate.design.search_fields import Span
from ablate.design.study import Study
from ablate.design.tuning import tuned_by
from ablate.model.spec import Change
from ablate.reporting.results import Results
from ablate.reporting.style import FEWEST_SEEDS, Unit, p_text

if TYPE_CHECKING:
    import pandas as pd

    from ablate.verdicts.verdict import Contrast, Effect, Verdict

MOST_CHANGES = 4  # of an arm, in one line of a table
LONGEST_CHANGE = 36  # characters; a longer one is named by its field alone
OUTCOMES = {
    "better": "{arm} is better than the control",
    "worse": "{arm} is worse than the control",
    "equivalent": "{arm} is equivalent to the control, within the margin of {margin}",
    "no worse": "{arm} is no worse than the control, by the margin of {margin}",
    "undecided": "{arm} against the control is undecided",
    "not judged": "{arm} is not judged",
}
TOO_FEW = "too few seeds"
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def plain(text: str) -> str:
    """The text with every control character written out as its escape: neither a terminal nor a page obeys it.

    Line breaks and tabs stay; marks that turn the direction of writing do not.
    """
    return CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def count(number: int, noun: str) -> str:
    """``"1 contrast"``, ``"3 contrasts"``, ``"10,000 trials"``."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def title(results: Results) -> str:
    """The study's title, or its name where it has none."""
    return results.plan.study.title or results.plan.study.name


def facts(results: Results) -> str:
    """Study, budget, data, arms, seeds and epochs in a line, and what the training took."""
    study, trained, macs = results.plan.study, len(results.trained()), results.cost(CONTROL, "macs")
    return " · ".join(
        [
            f"{study.name}, budget {study.budget}",
            results.plan.data.name,
            count(len(results.plan.arms), "arm"),
            count(results.judgement.num_seeds, "seed"),
            *([] if study.own_training else [count(study.recipe.epochs, "epoch")]),
            f"{count(trained, 'training')}, {training_time(results)}",
            *([f"control {macs / 1e6:,.2f} M MACs"] if macs else []),
        ]
    )


def confidence(results: Results) -> str:
    """``"95 %"``."""
    return f"{100 * (1 - results.judgement.alpha):g} %"


def margin(results: Results, metric: str | None = None) -> str:
    """``"0.5 points"``: of the deciding metric, or of a co-primary one."""
    declared = {one.metric: one.margin for one in results.judgement.co_primary}
    size = results.judgement.margin if metric is None else declared.get(metric, results.judgement.margin)
    unit = results.unit if metric is None else results.unit_of(metric)
    return unit.told(f"{size * unit.factor:g}")


def sentence(results: Results, verdict: Verdict, metric: str | None = None) -> str:
    """One arm's verdict with the numbers behind it; in a co-primary metric where one is named.

    ``"relu_bottleneck is worse than the control: 96.02 % against 97.56 %, −1.54 points [−1.90, −1.17], adjusted p .008,
    8 paired seeds, expected: worse (held)"``
    """
    claim = OUTCOMES[verdict.outcome].format(arm=verdict.arm, margin=margin(results, metric))
    contrast = verdict.contrast
    if verdict.outcome == "not judged" or contrast is None:
        behind = [proper(verdict.why.rstrip("."))]
    else:
        behind = [evidence(results, contrast)]
        if needed := seeds_to_settle(verdict):
            behind.append(f"about {needed} seeds would settle it")
    if verdict.expected:
        behind.append(f"expected: {expectation(verdict)}")
    told = ", ".join(part for part in behind if part)
    return f"{claim}: {told}" if told else claim


def effect_outcome(effect: Effect) -> str:
    """An effect's outcome; of an interaction neither sign is better, so it is said whether there is one."""
    if ":" not in effect.term:
        return effect.outcome
    told = {"better": "interact", "worse": "interact", "equivalent": "no interaction"}
    return told.get(effect.outcome, effect.outcome)


def effect_sentences(results: Results) -> list[str]:
    """Of a factorial study: every main effect, then the interactions that are more than noise."""
    told = []
    for effect in results.judgement.effects:
        if ":" not in effect.term:
            subtracted = effect.contrast.replace(" - ", " − ")
            told.append(f"main effect of {effect.term} ({subtracted}): {_behind(results, effect)}")
        elif effect.adjusted_p <= results.judgement.alpha:
            told.append(f"interaction of {effect.term.replace(':', ' and ')}: {_behind(results, effect)}")
    return told


def _behind(results: Results, effect: Effect) -> str:
    unit = results.unit
    numbers = f"{unit.told(unit.signed(effect.estimate))} {unit.interval(effect.low, effect.high)}"
    told = f"{numbers}, adjusted p {p_text(effect.adjusted_p)}, {effect_outcome(effect)}"
    return f"{told}, expected: {expectation(effect)}" if effect.expected else told


def reasons(results: Results) -> list[str]:
    """For every arm, what its verdict rests on, in the judge's own words."""
    return [f"{verdict.arm}: {proper(verdict.why)}" for verdict in results.judgement.verdicts if verdict.why]


def proper(text: str) -> str:
    """The judge's sentences with numbers as the tables print them: a true minus sign, p without its zero."""
    text = re.sub(r"(?<![\w.-])-(?=\d)", "−", text)
    return re.sub(r"\bp (?:= 0|(<) 0)(\.\d+)", lambda found: f"p {found[1] or ''}{found[2]}", text)


def evidence(results: Results, contrast: Contrast) -> str:
    """Both means, difference, interval, p and number of paired seeds."""
    unit = results.unit_of(contrast.metric)
    which, p = ("p", contrast.p) if contrast.adjusted_p is None else ("adjusted p", contrast.adjusted_p)
    means = f"{absolute(unit, contrast.arm_mean)} against {absolute(unit, contrast.control_mean)}"
    difference = unit.told(unit.signed(contrast.mean_difference))
    if (span := interval(results, contrast)) not in ("–", TOO_FEW):
        difference += f" {span}"
    return ", ".join([means, difference, f"{which} {p_text(p)}", count(contrast.n, "paired seed")])


def seeds_to_settle(verdict: Verdict) -> int | None:
    """How many seeds would settle an undecided verdict; None where so few seeds as there are cannot tell."""
    contrast = verdict.contrast
    if verdict.outcome != "undecided" or contrast is None:
        return None
    return contrast.seeds_to_settle if (contrast.seeds_to_settle or 0) > contrast.n else None


def absolute(unit: Unit, value: float) -> str:
    """``"97.56 %"``, or a loss as it is."""
    return f"{unit.value(value)} {unit.symbol}".rstrip()


def interval(results: Results, contrast: Contrast | None) -> str:
    """``"[−1.90, −1.17]"``; of fewer than three pairs it would span everything, and is not shown."""
    if contrast is None:
        return "–"
    unit = results.unit_of(contrast.metric)
    return unit.interval(contrast.low, contrast.high) if contrast.n >= FEWEST_SEEDS else TOO_FEW


def expectation(verdict: Verdict | Effect) -> str:
    """``"worse (held)"``, or ``did not hold``, ``not decided``, ``not tested``; empty where nothing was expected."""
    if not verdict.expected:
        return ""
    if verdict.held is None:
        return f"{verdict.expected} ({'not decided' if verdict.tested else 'not tested'})"
    return f"{verdict.expected} ({'held' if verdict.held else 'did not hold'})"


def rule_when(results: Results) -> str:
    """When alpha, margin and seeds were set, as far as sealed plans show it; empty where none were looked at."""
    registered = results.judgement.registration
    return "" if registered is None else f"The plan is {registered.sentence}."


def kernels(results: Results) -> list[str]:
    """What computed, ``native avx2`` or ``torch``, in the order of the records; empty where none says so."""
    return list(dict.fromkeys(one.measured.kernels for one in results.records.values() if one.measured.kernels))


def computed(results: Results) -> str:
    """``"computed by native avx2 kernels, torch 2.15.0, on AMD EPYC"``; empty where no record says so."""
    measured = [one.measured for one in results.records.values()]
    torch = dict.fromkeys(f"torch {one.versions['torch']}" for one in measured if "torch" in one.versions)
    made = [*(f"{name} kernels" for name in kernels(results)), *torch]
    hardware = list(dict.fromkeys(one.hardware for one in measured if one.hardware))
    place = f", on {', '.join(hardware)}" if hardware else ""
    return f"computed by {', '.join(made)}{place}" if made else ""


def training_time(results: Results) -> str:
    """``"3.1 minutes"``: of all trainings together, as their records say."""
    seconds = sum(record.measured.wall_s for record in results.trained())
    return f"{seconds / 60:,.1f} minutes"


def repeatability(results: Results) -> str:
    """What a repeat will show, here and elsewhere; empty where nothing was compared."""
    contrasts = [one.contrast for one in results.judgement.verdicts if one.contrast and one.contrast.n >= FEWEST_SEEDS]
    if not contrasts:
        return ""
    unit = results.unit
    each = "; ".join(f"{one.arm} {unit.interval(one.repeat_low, one.repeat_high)}" for one in contrasts[:MOST_CHANGES])
    more = f"; and {len(contrasts) - MOST_CHANGES} more in the table" if len(contrasts) > MOST_CHANGES else ""
    return (
        f"These numbers were {computed(results) or 'computed on a machine that the records do not name'}. The same "
        "command gives them again to the last bit with the same kernels, number of threads and kind of processor. "
        "Elsewhere (other kernels, another processor, another version of torch) rounding differs, and training "
        "amplifies it until the same seeds act as new ones. A repeat with as many seeds is expected, with "
        f"{confidence(results)} probability, to find ({unit.short}) {each}{more}; this holds if other arithmetic "
        "changes only the noise."
    )


def methods(results: Results) -> str:
    """A methods paragraph to paste into a paper, with its references."""
    from ablate.verdicts.methods import methods_paragraph

    return methods_paragraph(results.plan, results.judgement, results.records)


def gravest(results: Results) -> list[str]:
    """What the reader must know before any verdict: why the study does not stand, then every other statement."""
    told = [proper(statement) for statement in results.judgement.statements]
    if not results.judgement.stands and not told:
        told = ["The noise floor failed or could not be checked: no verdict of this study is valid."]
    return told


def why_not_judged(results: Results) -> list[str]:
    """Why some of several arms are not judged; that a seed is missing or failed, a statement says of all arms."""
    verdicts = results.judgement.verdicts
    found = [one for one in verdicts if one.outcome == "not judged" and one.contrast is not None and len(verdicts) > 1]
    return list(dict.fromkeys(f"{proper(one.why)[:1].upper()}{proper(one.why)[1:]}." for one in found))


def is_alarming(results: Results) -> bool:
    """Whether the statements void the study or one of its verdicts."""
    judged = results.judgement
    return not judged.stands or bool(judged.divergence) or any(v.outcome == "not judged" for v in judged.verdicts)


def change(arm: Arm, study: Study) -> str:
    """What an arm changes, in a line: against the control, or, on the way to another net, against the step before."""
    if arm.name == NOISE_FLOOR:
        return "nothing: the control under other seeds"
    solved = arm.match if arm.match is not None and not arm.match.identity else None
    moved = [change for change in arm.changes if solved is None or change.field != solved.field]
    if study.design_kind == "add_one_in":
        moved = moved[-1:]
    told = [_moved(change, alone=len(moved) == 1) for change in moved[:MOST_CHANGES]]
    if len(moved) > MOST_CHANGES:
        told.append(f"and {len(moved) - MOST_CHANGES} more")
    if solved is not None:
        remainder = proper(f"{round(100 * solved.remainder, 1) + 0.0:+.1f} %")  # + 0.0: no negative zero
        called = "width ×" if solved.field == WIDTH_MULT else solved.field
        told.append(_unbroken(f"{called} {solved.width_mult:g} ({solved.quantity} {remainder})"))
    step = "+\N{NO-BREAK SPACE}" * (study.design_kind == "add_one_in" and bool(moved))
    return step + "; ".join(told) if told else "–"


def _moved(change: Change, *, alone: bool) -> str:
    """``"bottleneck: linear → relu"``; the field alone where it moves a whole table of stages."""
    before, after = (_level(value) for value in (change.before, change.after))
    told = [f"{change.field}: {before} → {after}"] * alone + [f"{change.field} → {after}", change.field]
    return _unbroken(next((one for one in told if len(one) <= LONGEST_CHANGE), change.field))


def _level(value: object) -> str:
    """A level as a study file writes it; a keyword that is not written has its function's default."""
    if isinstance(value, bool):
        return str(value).lower()
    return "default" if value == "" else str(value)


def _unbroken(text: str) -> str:
    return text.replace(" ", "\N{NO-BREAK SPACE}")  # a table breaks lines between changes, not within one


def quantity(study: Study) -> str:
    """What the study matches between its arms, in words."""
    return {"macs": "MACs", "params": "parameters", "train_flops": "training FLOPs"}.get(
        study.match, study.match.replace("_", " ")
    )


def search_text(study: Study) -> str:
    """``30 trials first: 24 × 1 epoch, 6 × 4 epochs (tpe, successive_halving) over conv (2 levels), ...``."""
    search = study.search
    trials = search_trials(study)
    sizes = ": " + ", ".join(f"{number} × {count(epochs, 'epoch')}" for epochs, number in trials)
    if study.own_training and search.pruner == "none":  # which alone knows its epochs
        sizes = ""
    spans = [
        f"{name} {factor.low:g} to {factor.high:g}{' (log)' * factor.log}"
        + (f" in steps of {factor.step:g}" if factor.step else "")
        if isinstance(factor, Span)
        else f"{name} ({len(factor)} levels)"
        for name, factor in study.factors.items()
    ]
    how = ", ".join([search.sampler, *[search.pruner] * (search.pruner != "none")])
    against = f" and low {search.cost}" * (search.sampler == "nsga2")
    good = "high" if study.decision.wants_high else "low"
    wanted = f"for {good} {tuned_by(study.decision.metric).replace('_', ' ')}{against}"
    total = sum(number for _, number in trials)
    return f"{total} trials first{sizes} ({how}), {wanted}, over {', '.join(spans)}"


def study_text(study: Study) -> str:
    """The study as a study file would say it, with every default written out."""
    idle = {"tuning": not study.tuned, "search": not study.searched}
    left_out = {"name", "budget"} | {name for name, unused in idle.items() if unused}
    left_out |= {"data", "recipe", "match", "unmatched", "keep_weights", "vary"} if study.own_training else set()
    plain = study.model_dump(mode="json", exclude=left_out, exclude_none=True)
    plain = {key: value for key, value in plain.items() if value or key not in ("trainer", "command")}
    if not study.own_training:
        del plain["decision"]["unit"]
    tables = {key: value for key, value in plain.items() if isinstance(value, dict) and value}
    lines = [f"{key} = {_toml(value)}" for key, value in plain.items() if not isinstance(value, dict)]
    for key, value in tables.items():
        lines += ["", f"[{key}]", *(f"{_toml_key(name)} = {_toml(inner)}" for name, inner in value.items())]
    return "\n".join([f"# {study.name}, budget {study.budget}", *lines]) + "\n"


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_toml_key(name)} = {_toml(inner)}" for name, inner in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(inner) for inner in value) + "]"
    return json.dumps(value, ensure_ascii=False)  # strings, numbers and booleans are written alike in both


def _toml_key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name)


def importance_differs(ranked: pd.DataFrame) -> str:
    """How Optuna's importance and the linear model's effects differ, for these factors; empty where there are none."""
    factors = ranked[ranked["factor"] != "seed"] if not ranked.empty else ranked
    if factors.empty:
        return ""
    by_share = list(factors.sort_values("share", ascending=False)["factor"])
    by_effect = list(factors.sort_values("mean", key=lambda column: -column.abs())["factor"])
    order = (
        "Both rank the factors alike."
        if by_share == by_effect
        else f"Importance ranks {', '.join(by_share)}; the size of the main effect ranks {', '.join(by_effect)}."
    )
    return (
        f"{order} Importance (fANOVA, as Optuna computes it) is the share of the variance of single trials that a "
        "random forest gives to a factor, its interactions aside, with the seed as a further parameter. It has no sign "
        "and no error rate. A main effect is a difference of means with an interval and a corrected p-value. Verdicts "
        "rest on it alone."
    )
