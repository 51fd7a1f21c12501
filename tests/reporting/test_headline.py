"""The answer of a factorial study in its headline, and the line of facts with it."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable

from ablate.reporting import words
from ablate.reporting.conclusion import campaign_metrics
from ablate.reporting.headline import headline
from ablate.reporting.results import Results
from ablate.verdicts.verdict import Outcome, SimpleEffect


def with_outcomes(results: Results, **outcomes: Outcome) -> Results:
    """The same campaign; effects (``:`` in a term is ``_x_``) as given, all others undecided."""
    effects = tuple(
        dataclasses.replace(effect, outcome=outcomes.get(effect.term.replace(":", "_x_"), "undecided"))
        for effect in results.judgement.effects
    )
    return dataclasses.replace(results, judgement=dataclasses.replace(results.judgement, effects=effects))


def test_what_was_shown_to_be_small_is_told_from_what_is_undecided(toggles: Results) -> None:
    told = headline(with_outcomes(toggles, conv="worse", activation="equivalent"))
    assert told.startswith("conv matters most: full instead of depthwise moves test accuracy by −1.60 points")
    assert "The effect of activation is smaller than 0.5 points." in told
    assert "The effects of bottleneck and residual are undecided." in told
    assert "interact" not in told


def test_an_interaction_is_told_by_the_effect_of_one_factor_at_each_level_of_the_other(toggles: Results) -> None:
    found = with_outcomes(toggles, conv="worse", residual_x_conv="worse")
    simple = tuple(
        SimpleEffect(
            factor="residual", contrast="classic - inverted", at=f"conv = {level}", estimate=size, low=None, high=None
        )
        for level, size in (("depthwise", -0.0144), ("full", 0.0014))
    )
    last = dataclasses.replace(found.judgement.effects[-1], simple=simple)
    whole = dataclasses.replace(found.judgement, effects=(*found.judgement.effects[:-1], last))
    assert (
        "residual and conv interact: residual classic instead of inverted moves it by −1.44 points "
        "with conv = depthwise, and by +0.14 points with conv = full."
    ) in headline(dataclasses.replace(found, judgement=whole))


def test_arms_of_different_cost_are_compared_by_their_means_and_macs(toggles: Results) -> None:
    assert headline(toggles).endswith("By the means, control (1.00×) is both the cheapest in MACs and the best.")
    falling = {arm: {"macs": 5_000_000 - 200_000 * (i // 2)} for i, arm in enumerate(toggles.costs)}
    toggles = dataclasses.replace(toggles, costs=falling)
    told = re.search(r"the best for their MACs are (.*)\.$", headline(toggles))
    assert told is not None
    named = {name: float(cost) for name, cost in re.findall(r"(\S+) \(([\d.]+)×\)", told[1])}
    means = {one.arm: one.contrast.arm_mean for one in toggles.judgement.verdicts if one.contrast}
    means["control"] = next(one.contrast.control_mean for one in toggles.judgement.verdicts if one.contrast)
    macs = {arm: toggles.costs[arm]["macs"] or 0 for arm in means}

    def beaten(arm: str) -> bool:
        others = [one for one in means if one != arm and macs[one] <= macs[arm]]
        return any(means[one] > means[arm] or (means[one] == means[arm] and macs[one] < macs[arm]) for one in others)

    assert set(named) == {arm for arm in means if not beaten(arm)}
    assert all(abs(cost - macs[arm] / macs["control"]) < 0.01 for arm, cost in named.items())
    alike = {arm: {**costs, "macs": 2_586_736} for arm, costs in toggles.costs.items()}
    assert "MACs" not in headline(dataclasses.replace(toggles, costs=alike))


def test_of_a_few_arms_each_is_told_and_of_more_how_many_and_the_largest(make_findings: Callable[..., Results]) -> None:
    def told(*levels: float) -> str:
        return headline(make_findings(arms={f"wide_{i}": {"width_mult": level} for i, level in enumerate(levels)}))

    assert re.findall(r"(\w+) is worse than the control: its", told(0.5, 0.75, 1.5)) == ["wide_0", "wide_1", "wide_2"]
    assert told(0.5, 0.75, 1.5, 2.0).startswith(
        "All 4 arms are worse than the control. The largest difference is wide_3"
    )


def test_a_campaigns_effects_are_metrics_of_its_run(toggles: Results) -> None:
    metrics = campaign_metrics(toggles)
    for effect in toggles.judgement.effects:
        name = effect.term.replace(":", "_")
        found = [metrics[f"effect{end}/{name}"] for end in ("", "_low", "_high", "_adjusted_p")]
        assert found == [effect.estimate, effect.low, effect.high, effect.adjusted_p]


def test_the_line_of_facts_has_data_seeds_and_what_it_cost(make_findings: Callable[..., Results]) -> None:
    assert words.facts(make_findings(drop=3)) == (
        "linear_bottleneck, budget quick · mnist5k · 3 arms · 8 seeds · 4 epochs · 21 trainings, 3.5 minutes · "
        "control 2.59 M MACs"
    )
