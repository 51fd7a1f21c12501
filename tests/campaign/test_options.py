from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablate.campaign.options import RunOptions
from ablate.errors import AblateError
from ablate.study import parser, run_options

COMMAND_LINE = set(
    """
    --budget --check --cpus-per-trial --data --data-root --device --epochs --executor --expect --figure --forget
    --gpus-per-trial --help --jobs --json --list --new --no-report --optuna-storage --plan --quiet --ray-address
    --repair --retries --runs --schema --seeds --set --threads --time-limit --tracking-uri --version
    """.split()  # noqa: SIM905 - easier to read
)


def options_of_the_command() -> dict[str, str]:
    """Long option -> field."""
    actions = parser()._actions
    return {name: action.dest for action in actions for name in action.option_strings if name.startswith("--")}


def test_the_command_line_has_these_options_and_no_other() -> None:
    assert set(options_of_the_command()) == COMMAND_LINE


def test_every_field_has_an_option_and_its_default_is_that_of_the_command() -> None:
    fields = {field.name for field in dataclasses.fields(RunOptions)}
    assert fields <= set(options_of_the_command().values())
    assert run_options(parser().parse_args(["toggles"])) == RunOptions()


def test_what_is_given_on_the_command_line_arrives(tmp_path: Path) -> None:
    given_ = RunOptions(
        runs=tmp_path / "runs",
        data_root=tmp_path / "data",
        tracking_uri="http://127.0.0.1:5000",
        optuna_storage="sqlite:///there.db",
        device="cpu",
        jobs=3,
        threads=2,
        retries=0,
        time_limit_s=1.5,
        executor="ray",
        ray_address="auto",
        cpus_per_trial=0.5,
        gpus_per_trial=2,
    )
    names = {field: name for name, field in options_of_the_command().items()}
    line = [
        word
        for field in dataclasses.fields(RunOptions)
        for word in (names[field.name], str(getattr(given_, field.name)))
    ]
    assert len(line) == 2 * len(dataclasses.fields(RunOptions))
    assert run_options(parser().parse_args(["toggles", *line])) == given_


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"executor": "rai"}, "--executor must be one of local, ray; got 'rai'; did you mean 'ray'?"),
        ({"gpus_per_trial": 0.5}, "--gpus-per-trial is read with --executor ray, not with local"),
        ({"ray_address": "auto"}, "--ray-address is read with --executor ray, not with local"),
        ({"executor": "ray", "cpus_per_trial": 0}, "--cpus-per-trial must be above 0, got 0"),
        ({"executor": "ray", "cpus_per_trial": math.nan}, "--cpus-per-trial must be above 0, got nan"),
        ({"executor": "ray", "gpus_per_trial": 1.5}, "a fraction of a GPU or a whole number of them, got 1.5"),
        ({"executor": "ray", "gpus_per_trial": 0, "device": "cuda"}, "must be above 0 with --device cuda, got 0"),
        ({"executor": "ray", "jobs": 0}, "--jobs must be at least 1, got 0"),
        ({"threads": -1}, "--threads must be at least 1, got -1"),
        ({"retries": -1}, "--retries must be at least 0, got -1"),
        ({"time_limit_s": 0}, "--time-limit must be above 0 seconds, got 0"),
        ({"time_limit_s": math.nan}, "--time-limit must be above 0 seconds, got nan"),
    ],
)
def test_a_value_that_is_not_allowed_is_named_with_what_is(fields: dict[str, object], message: str) -> None:
    with pytest.raises(AblateError) as caught:
        RunOptions(**fields)  # type: ignore[arg-type]
    assert message in str(caught.value)


@given(gpus=st.floats(allow_nan=True, allow_infinity=True))
def test_gpus_of_a_trial_are_a_fraction_of_one_or_a_whole_number(gpus: float) -> None:
    allowed = 0 <= gpus <= 1 or (gpus > 1 and math.isfinite(gpus) and gpus == int(gpus))
    try:
        RunOptions(executor="ray", gpus_per_trial=gpus)
    except AblateError:
        assert not allowed
    else:
        assert allowed


def test_options_are_frozen_and_their_folders_absolute() -> None:
    options = RunOptions(runs=Path("runs"))
    assert options.runs == Path.cwd() / "runs"
    assert options.mlflow_uri == f"sqlite:///{Path.cwd()}/runs/mlflow.db"
    with pytest.raises(dataclasses.FrozenInstanceError):
        options.jobs = 2  # type: ignore[misc]
