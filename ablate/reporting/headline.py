"""The answer of a study in a sentence of plain English, with its number and interval; and shorter, for a title."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ablate.design.plan import CONTROL
from ablate.reporting import words
from ablate.reporting.results import Results
from ablate.reporting.style import FEWEST_SEEDS, p_text
from ablate.verdicts.explored import pareto
from ablate.verdicts.verdict import Contrast, Effect, Verdict

FEW = 3  # arms, or steps, that are each told
ALIKE = 1.1  # arms whose costs differ by less than this factor are not compared by cost


def headline(results: Results) -> str:
    """What came out, in one or two sentences."""
    judged = results.judgement
    if not judged.stands:
        return "No verdict of this study is valid, because the noise floor failed or could not be checked."
    if judged.effects:
        return _factorial(results)
    if results.plan.study.design_kind == "add_one_in" and judged.verdicts:
        return _roadmap(results)
    if 1 <= len(judged.verdicts) <= FEW:
        return " ".join(_told(results, verdict) for verdict in judged.verdicts)
    return _several(results)


def short_verdict(results: Results) -> str:
    """``"worse"``, or ``"1 worse, 2 undecided"``: for a title and a line of an index."""
    judged = results.judgement
    if not judged.stands:
        return "no verdict is valid"
    if judged.effects:
        found = [effect.term for effect in _main(results) if effect.outcome in ("better", "worse")]
        return f"{', '.join(found)} matter{'s' * (len(found) == 1)}" if found else "no main effect was found"
    outcomes = Counter(verdict.outcome for verdict in judged.verdicts)
    if len(judged.verdicts) == 1:
        return str(judged.verdicts[0].outcome)
    return ", ".join(f"{number} {outcome}" for outcome, number in outcomes.items())


def _several(results: Results) -> str:
    verdicts = results.judgement.verdicts
    if not verdicts:
        return "No arm was compared."
    counted = outcomes_of(verdicts)
    judged = [verdict for verdict in verdicts if verdict.contrast is not None and verdict.outcome != "not judged"]
    largest = _largest([verdict for verdict in judged if verdict.outcome in ("better", "worse")] or judged)
    if largest is None:
        return counted
    return f"{counted} The largest difference is {_told(results, largest, whole=False)}"


def outcomes_of(verdicts: Sequence[Verdict]) -> str:
    """``Of 3 arms, 2 are worse than the control and 1 is undecided.``"""
    outcomes = Counter(verdict.outcome for verdict in verdicts)
    if len(outcomes) == 1:
        every = "Both arms" if len(verdicts) == 2 else f"All {len(verdicts)} arms"
        return f"{every} are {_than(verdicts[0].outcome)}."
    each = [f"{number} {'is' if number == 1 else 'are'} {_than(outcome)}" for outcome, number in outcomes.items()]
    return f"Of {len(verdicts)} arms, {', '.join(each[:-1])} and {each[-1]}."


def _than(outcome: str) -> str:
    after = {"equivalent": " to the control", "undecided": "", "not judged": ""}
    return outcome + after.get(outcome, " than the control")


def _largest(verdicts: list[Verdict]) -> Verdict | None:
    return max(verdicts, key=lambda v: abs(v.contrast.mean_difference) if v.contrast else 0.0, default=None)


def _told(results: Results, verdict: Verdict, *, whole: bool = True) -> str:
    contrast = verdict.contrast
    if contrast is None or verdict.outcome == "not judged":
        return f"{verdict.arm} is not judged: {words.proper(verdict.why)}"
    claim = (
        words.OUTCOMES[verdict.outcome].format(arm=verdict.arm, margin=words.margin(results)) if whole else verdict.arm
    )
    told = f"{claim}: {_difference(results, contrast)}."
    if needed := words.seeds_to_settle(verdict):
        told += f" About {needed} seeds would settle it."
    return told


def _difference(results: Results, contrast: Contrast) -> str:
    """``"its test accuracy is 96.02 % against 97.56 %, 1.54 points lower (95 % interval ...; 8 paired seeds)"``."""
    unit = results.unit
    means = f"{words.absolute(unit, contrast.arm_mean)} against {words.absolute(unit, contrast.control_mean)}"
    size = unit.signed(contrast.mean_difference).lstrip("+−")
    way = "higher" if contrast.mean_difference > 0 else "lower"
    behind = [
        _span(results, contrast.low, contrast.high)
        if contrast.n >= FEWEST_SEEDS
        else words.TOO_FEW + " for an interval"
    ]
    if contrast.adjusted_p is not None:
        behind.append(f"adjusted p {p_text(contrast.adjusted_p)}")
    behind.append(words.count(contrast.n, "paired seed"))
    metric = contrast.metric.replace("_", " ")
    return f"its {metric} is {means}, {unit.told(size)} {way} ({'; '.join(part for part in behind if part)})"


def _span(results: Results, low: float | None, high: float | None) -> str:
    unit = results.unit
    if low is None or high is None:
        return ""
    return f"{words.confidence(results)} interval {unit.signed(low)} to {unit.told(unit.signed(high))}"


def _main(results: Results) -> list[Effect]:
    """The main effects, the largest first."""
    effects = [effect for effect in results.judgement.effects if ":" not in effect.term]
    return sorted(effects, key=lambda effect: -abs(effect.estimate))


def _factorial(results: Results) -> str:
    main = _main(results)
    found = [effect for effect in main if effect.outcome in ("better", "worse")]
    rest = list(dict.fromkeys(effect.term for effect in main if effect not in found))
    rest = [term for term in rest if term not in {effect.term for effect in found}]
    if not found:
        told = "No main effect is significantly different from zero."
    else:
        told = f"{found[0].term} matters most: {_effect(results, found[0])}."
        if found[1:]:
            told += f" Then {'; '.join(f'{effect.term}: {_effect(results, effect)}' for effect in found[1:])}."
        small = [term for term in rest if all(one.outcome == "equivalent" for one in main if one.term == term)]
        for terms, what in (
            (small, f"smaller than {words.margin(results)}"),
            ([term for term in rest if term not in small], "undecided"),
        ):
            if terms:
                one = len(terms) == 1
                told += f" The effect{'' if one else 's'} of {_and(terms)} {'is' if one else 'are'} {what}."
    pairs = [e for e in results.judgement.effects if ":" in e.term and e.outcome in ("better", "worse")]
    told += "".join(f" {_interaction(results, effect)}" for effect in pairs)
    return f"{told} {_front(results)}".rstrip()


def _interaction(results: Results, effect: Effect) -> str:
    """That two factors interact, and what the first one does at each level of the other."""
    told = f"{effect.term.replace(':', ' and ')} interact"
    if not effect.simple:
        return f"{told}."
    unit, (one, two) = results.unit, effect.simple[:2]
    at = [f"{unit.told(unit.signed(simple.estimate))} with {simple.at}" for simple in (one, two)]
    return f"{told}: {one.factor} {_change(one.contrast)} moves it by {at[0]}, and by {at[1]}."


def _front(results: Results) -> str:
    """The arms that none beats at its MACs or fewer, by the means; empty where the arms cost about the same."""
    judged = results.judgement
    contrasts = [verdict.contrast for verdict in judged.verdicts if verdict.contrast is not None]
    if not contrasts:
        return ""
    means = {CONTROL: contrasts[0].control_mean, **{one.arm: one.arm_mean for one in contrasts}}
    costs = {arm: results.cost(arm, "macs") or 0.0 for arm in means}
    if not min(costs.values()) > 0 or max(costs.values()) < ALIKE * min(costs.values()):
        return ""
    good, arms = (1 if judged.higher_is_better else -1), list(means)
    places = pareto([(good * means[arm], costs[arm]) for arm in arms])
    front = [f"{arms[place]} ({costs[arms[place]] / costs[CONTROL]:.2f}×)" for place in reversed(places)]
    if len(front) == 1:
        return f"By the means, {front[0]} is both the cheapest in MACs and the best."
    return f"By the means, the best for their MACs are {_and(front)}."


def _change(contrast: str) -> str:
    """``"classic instead of inverted"``."""
    return " instead of ".join(contrast.split(" - "))


def _effect(results: Results, effect: Effect) -> str:
    unit = results.unit
    span = _span(results, effect.low, effect.high)
    behind = "; ".join(filter(None, [span, f"adjusted p {p_text(effect.adjusted_p)}"]))
    changed = _change(effect.contrast)
    return f"{changed} moves {unit.metric.replace('_', ' ')} by {unit.told(unit.signed(effect.estimate))} ({behind})"


def _roadmap(results: Results) -> str:
    last = results.judgement.verdicts[-1]
    told = f"At the end of the steps, {_told(results, last)}"
    steps, alpha = results.judgement.steps, results.judgement.alpha
    if len(steps) <= FEW:
        return f"{told} Step by step: {'; '.join(_step(results, step) for step in steps)}." if steps else told
    found = [step for step in steps if step.adjusted_p is not None and step.adjusted_p <= alpha]
    if found:
        told += f" The largest single step is {_step(results, max(found, key=lambda one: abs(one.mean_difference)))}."
    return told


def _step(results: Results, step: Contrast) -> str:
    change = words.change(results.arm(step.arm), results.plan.study).replace("\N{NO-BREAK SPACE}", " ")
    size = results.unit.told(results.unit.signed(step.mean_difference))
    return f"{change.removeprefix('+ ')}, {size} {words.interval(results, step)}"


def _and(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
