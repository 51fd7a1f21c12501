"""Co-primary metrics in sentences, table, JSON and MLflow's metrics, each in its own unit and with its own margin."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from ablate.reporting import co_primary
from ablate.reporting.conclusion import campaign_metrics
from ablate.reporting.json_output import judgement_json
from ablate.reporting.results import Results
from ablate.verdicts.judge import judge
from ablate.verdicts.methods import methods_paragraph

Make = Callable[..., Results]


@pytest.fixture(scope="module")
def judged(make_findings: Make) -> Results:
    """Losses that are 1 - accuracy: what the one metric shows the other shows too."""
    made = make_findings(decision={"co_primary": {"test_loss": {"margin": 0.02}}})
    return replace(made, judgement=judge(made.plan, made.records))


def test_a_sentence_names_metric_difference_in_its_unit_and_the_gain_in_seeds(judged: Results) -> None:
    told = co_primary.sentences(judged)
    assert len(told) == 2
    contrast = judged.judgement.co_primary[0].verdicts[0].contrast
    assert contrast is not None
    assert told[0].startswith("in test loss, relu_bottleneck is ")
    assert judged.unit_of("test_loss").signed(contrast.mean_difference) in told[0]
    assert "points" not in told[0]
    assert "test accuracy needs 1 (1 to 1) times the seeds to find it" in told[0]  # 1 - accuracy knows nothing more


def test_the_table_has_a_row_an_arm_with_the_metrics_own_margin(judged: Results) -> None:
    table = co_primary.rows(judged)
    assert list(table["arm"]) == ["relu_bottleneck", "full"]
    assert set(table["margin"]) == {"0.02 nats"}
    assert co_primary.rows(replace(judged, judgement=replace(judged.judgement, co_primary=()))).empty


def test_json_mlflow_and_the_methods_paragraph_carry_it(judged: Results) -> None:
    document = json.loads(judgement_json(judged.judgement, control="control"))
    (found,) = document["co_primary"]
    contrast = judged.judgement.co_primary[0].verdicts[0].contrast
    assert contrast is not None
    assert (found["metric"], found["margin"], found["verdicts"][0]["difference"]) == (
        "test_loss",
        0.02,
        contrast.mean_difference,
    )
    assert campaign_metrics(judged)["difference/relu_bottleneck/test_loss"] == contrast.mean_difference
    told = methods_paragraph(judged.plan, judged.judgement)
    assert "We compared 2 arms" in told
    assert "adjusted over 4 contrasts" in told
    assert "in the same family of contrasts, were test loss (margin 0.02)" in told
