"""What the page of a study's experiment in MLflow shows first: its question, and a list of runs with the right columns.

MLflow keeps a view of the list that somebody shares in a tag of the experiment, and opens it from a link. The link of
`ablate ui` names the view that is written here.
"""

from __future__ import annotations

import json

from ablate.campaign.mlflow_payload import KIND, TRIAL, levels
from ablate.design.plan import CampaignPlan

VIEW = "ablate"
SHARED = f"mlflow.sharedViewState.{VIEW}"
SHOWN = f"viewStateShareKey={VIEW}"  # in a link
MOST_COLUMNS = 6  # of what arms change


def experiment_tags(plan: CampaignPlan) -> dict[str, str]:
    """Tags of the study's experiment, as its newest campaign has them."""
    study = plan.study
    described = (study.title and f"**{study.title}**", study.question, study.source and f"Source: {study.source}")
    tags = {
        "mlflow.note.content": "\n\n".join(filter(None, described)),
        "mlflow.experimentKind": "custom_model_development",
        SHARED: json.dumps(_view(plan)),
    }
    return {name: value for name, value in tags.items() if value}


def _view(plan: CampaignPlan) -> dict[str, object]:
    """Arms in the order of the deciding metric, then campaigns; trials come when the search is cleared."""
    metric = plan.study.decision.metric
    moved = dict.fromkeys(name for arm in plan.arms for name in levels(plan, arm))
    fields = [name.replace("[", ".").replace("]", "") for name in list(moved)[:MOST_COLUMNS]]
    columns = [("metrics", metric), *(("params", name) for name in fields), ("params", "cost.macs")]
    return {
        "searchFilter": f"tags.`{KIND}` != '{TRIAL}'",
        "orderByKey": f"metrics.`{metric}`",
        "orderByAsc": metric.endswith("loss"),
        "selectedColumns": [f"{kind}.`{name}`" for kind, name in columns],
    }
