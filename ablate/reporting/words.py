"""Verdicts, rule and expectations in plain sentences, the same in terminal, page and note."""

from __future__ import annotations

import json
import re

from ablate.design.plan import CONTROL, NOISE_FLOOR
from ablate.design.study import Study
from ablate.reporting.results import Results
from ablate.reporting.style import p_text
from ablate.verdicts.verdict import Contrast, Effect, Verdict

MOST_CHANGES = 4  # of an arm, in one line of a table
OUTCOMES = {
    "better": "{arm} is better than the control",
    "worse": "{arm} is worse than the control",
    "equivalent": "{arm} is equivalent to the control, within the margin of {margin}",
    "undecided": "{arm} against the control is undecided",
    "not judged": "{arm} is not judged",
}


def title(results: Results) -> str:
    """The study's title, or its name where it has none."""
    return results.plan.study.title or results.plan.study.name


def confidence(results: Results) -> str:
    """``"95 %"``."""
    return f"{100 * (1 - results.judgement.alpha):g} %"


def margin(results: Results) -> str:
    """``"0.5 points"``."""
    return f"{results.judgement.margin * results.unit.factor:g} {results.unit.short}"


def sentence(results: Results, verdict: Verdict) -> str:
    """One arm's verdict with the numbers behind it.

    ``"relu_bottleneck is worse than the control: −1.84 points [−2.31, −1.37], adjusted p .008, 8 paired seeds,
    expected: worse (held)"``
    """
    claim = OUTCOMES[verdict.outcome].format(arm=verdict.arm, margin=margin(results))
    contrast = verdict.contrast
    if verdict.outcome == "not judged" or contrast is None:
        behind = [proper(verdict.why.rstrip("."))]
    else:
        behind = [evidence(results, contrast)]
        if verdict.outcome == "undecided" and (contrast.seeds_to_settle or 0) > contrast.n:
            behind.append(f"about {contrast.seeds_to_settle} seeds would settle it")
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
    unit, told = results.unit, []
    for effect in results.judgement.effects:
        if ":" in effect.term and effect.adjusted_p > results.judgement.alpha:
            continue
        what = (
            "interaction of " + effect.term.replace(":", " and ")
            if ":" in effect.term
            else "main effect of " + effect.term
        )
        numbers = f"{unit.signed(effect.estimate)} {unit.short} {unit.interval(effect.low, effect.high)}"
        subtracted = f" ({effect.contrast.replace(' - ', ' − ')})" if ":" not in effect.term else ""
        told.append(f"{what}{subtracted}: {numbers}, adjusted p {p_text(effect.adjusted_p)}, {effect_outcome(effect)}")
    return told


def reasons(results: Results) -> list[str]:
    """For every arm, what its verdict rests on, in the judge's own words."""
    return [f"{verdict.arm}: {proper(verdict.why)}" for verdict in results.judgement.verdicts if verdict.why]


def proper(text: str) -> str:
    """The text with a true minus sign before numbers."""
    return re.sub(r"(?<![\w.-])-(?=\d)", "−", text)


def evidence(results: Results, contrast: Contrast) -> str:
    """Difference, interval, p and number of paired seeds."""
    unit = results.unit
    which, p = ("p", contrast.p) if contrast.adjusted_p is None else ("adjusted p", contrast.adjusted_p)
    parts = [f"{unit.signed(contrast.mean_difference)} {unit.short}"]
    if contrast.low is not None:
        parts[0] += f" {unit.interval(contrast.low, contrast.high)}"
    seeds = f"{contrast.n} paired seed{'s' * (contrast.n != 1)}"
    return ", ".join([*parts, f"{which} {p_text(p)}", seeds])


def expectation(verdict: Verdict) -> str:
    """``"worse (held)"``, or ``did not hold``, ``not decided``, ``not tested``; empty where nothing was expected."""
    if not verdict.expected:
        return ""
    if verdict.held is None:
        return f"{verdict.expected} ({'not decided' if verdict.tested else 'not tested'})"
    return f"{verdict.expected} ({'held' if verdict.held else 'did not hold'})"


def _found(effect: Effect, of: int) -> str:
    """The outcome of one of the effects of a term; a factor of more than two levels has several."""
    return effect_outcome(effect) if of == 1 else f"{effect_outcome(effect)} ({effect.contrast.replace(' - ', ' − ')})"


def expected_when(results: Results) -> str:
    """``"Expected before the runs"`` where a sealed plan shows it; else what is known of when it was expected."""
    registered = results.judgement.registration
    if registered is None:
        return "Expected by the study file"
    return "Expected before the runs" if registered.is_confirmatory else "Expected, exploratory"


def rule_when(results: Results) -> str:
    """When alpha, margin and seeds were set, as far as sealed plans show it; empty where none were looked at."""
    registered = results.judgement.registration
    return "" if registered is None else f"The plan is {registered.sentence}."


def expectations(results: Results) -> list[str]:
    """What the study file expected and what came of it, a sentence each."""
    told = []
    for arm, expected in results.plan.study.expect.items():
        try:
            verdict = results.judgement.verdict(arm)
            came, outcome, tested = verdict.held, str(verdict.outcome), verdict.tested
        except KeyError:  # a factor of a factorial study is expected under its own name
            effects = [effect for effect in results.judgement.effects if effect.term == arm]
            came = all(held) if (held := [e.held for e in effects if e.held is not None]) else None
            tested = all(effect.tested for effect in effects)
            outcome = ", ".join(_found(effect, len(effects)) for effect in effects) or "not judged"
        unknown = "that is not decided" if tested else "that was not tested: nothing else could come out"
        said = {True: "it held", False: "it did not hold", None: unknown}[came]
        told.append(f"{arm}: expected {expected}, found {outcome}; {said}.")
    return told


def gravest(results: Results) -> list[str]:
    """What the reader must know before any verdict: why the study does not stand, then every other statement."""
    told = [proper(statement) for statement in results.judgement.statements]
    if not results.judgement.stands and not told:
        told = ["The noise floor failed or could not be checked: no verdict of this study stands."]
    return told


def is_alarming(results: Results) -> bool:
    """Whether the statements void the study or one of its verdicts."""
    judged = results.judgement
    return not judged.stands or bool(judged.divergence) or any(v.outcome == "not judged" for v in judged.verdicts)


def change(results: Results, arm: str) -> str:
    """What an arm changes against the control, in one line."""
    if arm == CONTROL:
        return "–"
    if arm == NOISE_FLOOR:
        return "nothing: the control under other seeds"
    made = results.arm(arm).changes
    if len(made) == 1:
        return _unbroken(str(made[0]).replace("->", "→"))
    told = [_unbroken(f"{change.field} → {change.after}") for change in made]
    more = f"; and {len(told) - MOST_CHANGES} more" if len(told) > MOST_CHANGES else ""
    return "; ".join(told[:MOST_CHANGES]) + more


def _unbroken(text: str) -> str:
    return text.replace(" ", "\N{NO-BREAK SPACE}")  # a table breaks lines between changes, not within one


def quantity(study: Study) -> str:
    """What the study matches between its arms, in words."""
    return {"macs": "MACs", "params": "parameters", "train_flops": "training FLOPs"}.get(
        study.match, study.match.replace("_", " ")
    )


def study_text(study: Study) -> str:
    """The study as a study file would say it, with every default written out."""
    left_out = {"name", "budget"} if study.tuned else {"name", "budget", "tuning"}
    plain = study.model_dump(mode="json", exclude=left_out, exclude_none=True)
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
