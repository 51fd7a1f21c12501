"""A methods paragraph to paste into a paper, made from the plan and its judgement, with references."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ablate.design.plan import CampaignPlan
from ablate.design.record import Record
from ablate.design.study import Study
from ablate.verdicts.judgement import Judgement
from ablate.verdicts.statements import covered
from ablate.verdicts.wording import amount

Cite = Callable[[str], str]
FISHER = "Fisher RA. The Design of Experiments. Oliver & Boyd, 1935"
WESTFALL = "Westfall PH, Young SS. Resampling-Based Multiple Testing. Wiley, 1993"
SCHUIRMANN = "Schuirmann DJ. J Pharmacokinet Biopharm 15, 1987"
HOLM = "Holm S. Scand J Statist 6, 1979"
KIM = "Kim K, DeMets DL. Biometrika 74, 1987"
OWEN = "Owen AB. Ann Appl Stat 1, 2007"
BOX = "Box GEP, Hunter JS, Hunter WG. Statistics for Experimenters, 2nd ed. Wiley, 2005"


def methods_paragraph(plan: CampaignPlan, judgement: Judgement, records: Mapping[str, Record] | None = None) -> str:
    """What was compared, how often, by which tests, under which rule, and with which software; then the references.

    Args:
        plan: of the campaign.
        judgement: of its records.
        records: by trial key; the versions and commits that they name are stated. None: they are left out.
    """
    references: list[str] = []

    def cite(reference: str) -> str:
        if reference not in references:
            references.append(reference)
        return f"[{references.index(reference) + 1}]"

    sentences = [
        *_compared(plan, judgement),
        *_rule(plan, judgement, cite),
        *_design(plan, judgement, cite),
        *_sealed(judgement),
        *_software(plan, records or {}),
    ]
    numbered = "\n".join(f"[{number}] {reference}." for number, reference in enumerate(references, 1))
    return f"{' '.join(sentences)}\n\n{numbered}"


def _compared(plan: CampaignPlan, judgement: Judgement) -> list[str]:
    study, data, recipe = plan.study, plan.data, plan.study.recipe
    arms = len(judgement.verdicts)
    seeds = f"{judgement.num_seeds} seed{'s' * (judgement.num_seeds != 1)} each"
    if study.own_training:
        told = [
            f"We compared {arms} arm{'s' * (arms != 1)} with a control, trained by {data.name}, {seeds}.",
            "Arms with the same seed were given that seed.",
        ]
        return told + _explored(study)
    net = study.control.get("net", "a net of its own")
    images = f"{data.num_train:,} training and {data.num_test:,} test images"
    trained = f"{recipe.epochs} epochs with {recipe.optimizer}, a batch size of {recipe.batch_size}"
    shared = "initial weights where shapes agree, the order of the images and the augmentation"
    told = [
        f"We compared {arms} arm{'s' * (arms != 1)} with a control ({net}) on {data.name} ({images}), {seeds}.",
        f"All arms were trained for {trained} and a highest learning rate of {recipe.lr:g}.",
        f"Arms with the same seed shared {shared}.",
        covered(study),
    ]
    if study.match != "none":
        told.append(f"The widths of the arms were solved so that every arm spends the control's {study.match}.")
    return told + _explored(study)


def _explored(study: Study) -> list[str]:
    """What was searched or tuned."""
    held_back = "data" if study.own_training else "images"
    if study.searched:
        search, fields = study.search, ", ".join(study.factors)
        found = f"The arms were found by a search over {fields} on the validation {held_back} ({search.trials} "
        how = f"candidates, sampler {search.sampler}, pruner {search.pruner}); they were then trained with fresh seeds,"
        return [f"{found}{how} on which alone the claims rest."]
    if not study.tuned:
        return []
    fields = ", ".join(study.tuning.space)
    told = f"Before that, {fields} of every arm, the control included, was tuned on the validation {held_back} with"
    once = "; the claims hold for the recipes so found."
    each = ", anew for every seed; the claims hold for new tunings."
    return [f"{told} {study.tuning.trials} settings{once if study.tuning.blocks == 1 else each}"]


def _rule(plan: CampaignPlan, judgement: Judgement, cite: Cite) -> list[str]:
    alpha, margin = judgement.alpha, amount(judgement.margin, judgement.metric, judgement.unit)
    metric = judgement.metric.replace("_", " ")
    contrasts = f"{judgement.num_contrasts} contrast{'s' * (judgement.num_contrasts != 1)}"
    test = f"exact sign-flip test {cite(FISHER)}"
    adjusted = f"adjusted over {contrasts} by step-down max-T over joint sign flips {cite(WESTFALL)}"
    found = f"significant at a family-wise alpha of {alpha:g} and the interval excluded zero"
    confidence = f"{100 * (1 - alpha):.0f} %"
    told = [
        f"The outcome was {metric}; differences were taken seed by seed, with Student's t interval at {confidence}.",
        f"An arm was called different if its {test}, {adjusted}, was {found}.",
    ]
    if plan.study.decision.ask == "no_worse":
        told.append(
            f"It was called no worse if a one-sided t test against a margin of {margin}, Holm-adjusted {cite(HOLM)}, "
            f"and its exact sign-flip twin were significant at {alpha:g}."
        )
    else:
        told.append(
            f"It was called equivalent if two one-sided tests {cite(SCHUIRMANN)} against a margin of {margin}, "
            f"Holm-adjusted {cite(HOLM)}, and their exact sign-flip twins were significant at {alpha:g}."
        )
    if judgement.co_primary:
        each = ", ".join(
            f"{one.metric.replace('_', ' ')} (margin {amount(one.margin, one.metric, one.unit)})"
            for one in judgement.co_primary
        )
        told.append(f"Co-primary outcomes, judged by the same tests in the same family of contrasts, were {each}.")
    if plan.study.plan.until == "settled":
        told.append(
            f"Seeds were added up to {plan.study.plan.most_seeds}; alpha was spent over the looks by the power family "
            f"{cite(KIM)}, and intervals are repeated confidence intervals."
        )
    return told


def _design(plan: CampaignPlan, judgement: Judgement, cite: Cite) -> list[str]:
    told = []
    if judgement.effects:
        told.append(
            f"Main effects and two-way interactions {cite(BOX)} were estimated within every seed and tested by the "
            "same rule over all effects of the table."
        )
    if any(one.contrast and one.contrast.images_low is not None for one in judgement.verdicts):
        told.append(f"Intervals for new test examples as well come from a crossed bootstrap {cite(OWEN)}.")
    if plan.study.noise_floor:
        told.append("The control was trained again with other seeds and compared with itself by the same rule.")
    failed = {arm: rate for arm, rate in judgement.failure_rates.items() if rate.failed}
    if failed:
        each = ", ".join(f"{arm} {rate.failed} of {rate.of}" for arm, rate in failed.items())
        told.append(f"Seeds that diverged or ended far worse than the others: {each}; none was left out.")
    return told


def _sealed(judgement: Judgement) -> list[str]:
    if judgement.registration is None:
        return []
    return [f"The plan is {judgement.registration.sentence}."]


def _software(plan: CampaignPlan, records: Mapping[str, Record]) -> list[str]:
    made = [records[trial.key].measured for trial in plan.trials if trial.key in records]
    versions = {f"{name} {version}" for one in made for name, version in one.versions.items()}
    versions |= {f"{one.kernels} kernels" for one in made if one.kernels}
    commits = {one.commit for one in made if one.commit}
    hardware = {one.hardware for one in made if one.hardware}
    parts = [", ".join(sorted(one)) for one in (versions, hardware) if one]
    if commits:
        parts.append(f"commit {', '.join(sorted(commits))}")
    return [f"Trained with {'; '.join(parts)}."] if parts else []
