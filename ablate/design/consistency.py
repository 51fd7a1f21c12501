"""What is wrong with a study whose fields are each allowed: they contradict each other, the arms, or common sense."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import get_args

from ablate.design.arms import Arm
from ablate.design.datasets import KNOWN
from ablate.design.decision import CoPrimary
from ablate.design.initial import freeze_errors
from ablate.design.noun import HIGHER_IS_BETTER
from ablate.design.own_data import OWN_DATA, is_own
from ablate.design.search import confirmed_names
from ablate.design.study import SOURCES, Matched, Study
from ablate.design.tuning import tuning_errors
from ablate.design.validation import FieldError
from ablate.errors import nearest, one_of

LARGEST_MARGIN = 0.2  # of an accuracy, which goes from 0 to 1; whoever writes more means points


def study_errors(study: Study, arms: Sequence[Arm] = ()) -> list[FieldError]:
    """What is wrong with the decision rule, and with the tuning and the frozen stages of these arms."""
    return decision_errors(study) + vary_errors(study) + tuning_errors(study, arms) + freeze_errors(study, arms)


def vary_errors(study: Study) -> list[FieldError]:
    """Seeds that move nothing, or a source that is named twice."""
    if not study.vary:
        return [FieldError("vary", f"must hold at least one of {', '.join(SOURCES)}: else every seed is the same")]
    if len(set(study.vary)) < len(study.vary):
        return [FieldError("vary", f"must hold every source once, got {list(study.vary)!r}")]
    return []


def decision_errors(study: Study) -> list[FieldError]:
    """A margin of accuracy that was written in points, or verdicts on the images that settings are chosen by."""
    metric, margin = study.decision.metric, study.decision.margin
    errors = own_metric_errors(study) if study.own_training else _metric_errors(study)
    errors += _margin_errors("decision.margin", metric, margin)
    for name, one in study.decision.co_primary.items():
        key = f"decision.co_primary.{name}"
        errors += _co_primary_errors(study, key, name, one) + _margin_errors(f"{key}.margin", name, one.margin)
    if study.own_training and study.tuning.trials is not None and not metric.startswith("test_"):
        told = f"must start with test_ in a study that tunes, got {metric!r}: settings are chosen by its twin val_NAME"
        errors.append(FieldError("decision.metric", f"{told}, which the training returns too"))
    elif metric.startswith("val_") and study.tuning.trials is not None:
        told = f"must not be {metric!r} in a study that tunes: its settings are chosen on the validation images"
        errors.append(FieldError("decision.metric", f"{told}; allowed is {metric.replace('val_', 'test_')!r}"))
    return errors


def _margin_errors(key: str, metric: str, margin: float) -> list[FieldError]:
    if not metric.endswith("accuracy") or margin <= LARGEST_MARGIN:
        return []
    message = (
        f"must be at most {LARGEST_MARGIN:g}, got {margin:g}: {metric} goes from 0 to 1, so {margin:g} is "
        f"{100 * margin:g} points; half a point is written as 0.005"
    )
    return [FieldError(key, message)]


def _co_primary_errors(study: Study, key: str, name: str, one: CoPrimary) -> list[FieldError]:
    """A co-primary metric that is named twice, is not measured, or is the one that settings are chosen by."""
    decision, known = study.decision, HIGHER_IS_BETTER.get(name)
    if name == decision.metric:
        return [FieldError(key, "is decision.metric itself; name another metric, or leave it out")]
    if name in decision.also:
        return [FieldError(key, "is in decision.also too, which lists metrics without verdicts; leave it out there")]
    if name.startswith("val_") and (study.tuning.trials is not None or study.searched):
        return [FieldError(key, "is measured on the validation data, by which settings are chosen; take a test metric")]
    if not study.own_training:
        if known is None:
            return [FieldError(key, one_of(name, HIGHER_IS_BETTER))]
        only = "is declared with a trainer or a command of your own; it is known of the metrics of this package"
        said = {"higher_is_better": one.higher_is_better is not None, "unit": bool(one.unit)}
        return [FieldError(f"{key}.{field}", only) for field, written in said.items() if written]
    if known is None and one.higher_is_better is None:
        message = f"is missing: say whether a larger {name} is better (true) or worse (false)"
        return [FieldError(f"{key}.higher_is_better", message)]
    if known is not None and one.higher_is_better is (not known):
        message = f"must be {str(known).lower()} for {name}; give a metric of another meaning another name"
        return [FieldError(f"{key}.higher_is_better", message)]
    return []


def _metric_errors(study: Study) -> list[FieldError]:
    """A metric that our own training does not measure, or something said of one that is known of it."""
    decision = study.decision
    named = [("metric", decision.metric), *((f"also.{place}", name) for place, name in enumerate(decision.also))]
    unknown = [(f"decision.{key}", name) for key, name in named if name not in HIGHER_IS_BETTER]
    errors = [FieldError(key, one_of(name, HIGHER_IS_BETTER)) for key, name in unknown]
    only = "is declared with a trainer or a command of your own; it is known of the metrics of this package"
    if decision.higher_is_better is not None:
        errors.append(FieldError("decision.higher_is_better", only))
    if decision.unit:
        errors.append(FieldError("decision.unit", only))
    return errors


def own_metric_errors(study: Study) -> list[FieldError]:
    """What a study with training of its own leaves unsaid of its metric, or says of one whose name says it."""
    decision, errors = study.decision, []
    metric = decision.metric
    known = HIGHER_IS_BETTER.get(metric)
    if known is None and decision.higher_is_better is None:
        message = f"is missing: say whether a larger {metric} is better (true) or worse (false)"
        errors.append(FieldError("decision.higher_is_better", message))
    if known is not None and decision.higher_is_better is (not known):
        message = f"must be {str(known).lower()} for {metric}; give a metric of another meaning another name"
        errors.append(FieldError("decision.higher_is_better", message))
    if decision.unit and metric.endswith("accuracy"):
        message = f"is percent for {metric}: a metric whose name ends in accuracy goes from 0 to 1; leave unit out"
        errors.append(FieldError("decision.unit", message))
    if "margin" not in decision.model_fields_set:
        message = f"is missing: say which difference in {metric} is the smallest that matters"
        errors.append(FieldError("decision.margin", message))
    return errors


def data_errors(study: Study) -> list[FieldError]:
    """A data set that has no such name; whether a file is there is not looked at."""
    if study.data.name in KNOWN or study.data.name.endswith(".npz") or is_own(study.data.name):
        return []
    return [
        FieldError(
            "data.name", f"{one_of(study.data.name, KNOWN)} (or the path of an .npz file of your own, {OWN_DATA})"
        )
    ]


def expect_errors(study: Study, arms: Sequence[Arm]) -> list[FieldError]:
    """An expectation must be of an arm, of an arm at equal cost (``NAME@macs``), or of a factor or two (``a:b``).

    Whether this budget matches, and what, may differ from the one that the expectation was written for.
    """
    plain = [*(arm.name for arm in arms[1:]), *confirmed_names(study)]
    costs = get_args(Matched) if "@" in "".join(study.expect) else ()
    names = plain + [f"{name}@{cost}" for cost in costs if cost != "none" for name in plain]
    factors = () if study.searched else tuple(study.factors)  # a search has no effects
    names += [*factors, *(f"{one}:{two}" for one, two in itertools.combinations(factors, 2))]
    return [
        FieldError(
            f"expect.{name}", f"is not an arm of this study{nearest(name, names)} (arms: {', '.join(names) or 'none'})"
        )
        for name in study.expect
        if name not in names
    ]
