from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import URL

from ablate.campaign.mlflow_view import MlflowView
from ablate.campaign.views import ViewError
from ablate.paths import redact

passwords = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=4).map(lambda text: f"Xy7{text}")


@given(passwords, st.sampled_from(["postgresql+psycopg", "mysql", "http"]))
def test_a_password_is_not_spoken_in_an_address_or_in_a_sentence(password: str, scheme: str) -> None:
    url = URL.create(scheme, "me", password, "host", 5432, "db").render_as_string(hide_password=False)
    hidden = f"{scheme}://me:***@host:5432/db"
    assert redact(url) == hidden
    assert redact(f"MLflow at {url} is away") == f"MLflow at {hidden} is away"
    assert redact(f"{scheme}://me:{password}@host/db") == f"{scheme}://me:***@host/db"  # as people type it


@pytest.mark.parametrize(
    "place", ["runs/optuna.db", "sqlite:////home/a@b/x:y@z/mlflow.db", "http://host:5000", "postgresql://me@host/db"]
)
def test_an_address_without_a_password_is_spoken_as_it_is(place: str) -> None:
    assert redact(place) == place


def test_a_password_among_the_parameters_is_not_spoken() -> None:
    assert redact("postgresql:///db?host=/run&password=s3cret&x=1") == "postgresql:///db?host=/run&password=***&x=1"


def test_a_store_that_is_away_is_named_without_its_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(name, "")  # where the store puts them, for MLflow alone
    view = MlflowView("http://me:s3cret@127.0.0.1:9", tmp_path)
    with pytest.raises(ViewError) as fault:
        view.trial_runs("x")
    assert "MLflow at http://127.0.0.1:9 " in str(fault.value)
    assert "s3cret" not in str(fault.value)
    assert os.environ["MLFLOW_TRACKING_PASSWORD"] == "s3cret"
