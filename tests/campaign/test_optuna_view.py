"""What Optuna shows, read through Optuna's own ways."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import outcome, plan_of
from instant import Instant, go
from test_optuna_driver import effects, factorial, train, tuned

from ablate.campaign.optuna_view import OptunaView
from ablate.campaign.records import RecordStore
from ablate.campaign.views import ViewError, damage_of


def study_of(runs: Path, suffix: str = "") -> object:
    import optuna

    storage = f"sqlite:///{runs}/optuna.db"
    (name,) = [name for name in optuna.get_all_study_names(storage) if name.endswith("tuning") == bool(suffix)]
    return optuna.load_study(study_name=name, storage=storage)


def test_every_trial_shows_with_its_point_value_curve_and_key(runs: Path) -> None:
    plan = plan_of("control", "diverges", seeds=2)
    go(plan, runs)
    study = study_of(runs)
    assert study.direction.name == "MAXIMIZE"  # type: ignore[attr-defined]
    shown = {trial.user_attrs["key"]: trial for trial in study.trials}  # type: ignore[attr-defined]
    assert set(shown) == {trial.key for trial in plan.trials}
    for trial in plan.trials:
        record, found = outcome(trial), shown[trial.key]
        assert found.params == {"arm": trial.arm, "seed": trial.seed}
        assert found.intermediate_values == {point.epoch: point.val_accuracy for point in record.curve}
        assert found.state.name == ("PRUNED" if trial.arm == "diverges" else "COMPLETE")
        if trial.arm == "control":
            assert found.value == record.metrics["test_accuracy"]


def test_the_dashboard_reads_it_from_one_thread_after_another(runs: Path) -> None:
    """So does the server of `ablate ui --optuna`: sqlite refuses a connection of another thread, unless told."""
    go(plan_of("control", seeds=2), runs)
    view = OptunaView(runs)
    names = []
    for _ in range(3):
        with ThreadPoolExecutor(1) as pool:
            names.append([study.study_name for study in pool.submit(view.storage.get_all_studies).result()])
    view.close()
    assert names[0] == names[1] == names[2]
    assert len(names[0]) == 1


def test_a_record_that_is_there_twice_is_shown_once_after_the_next_call(runs: Path) -> None:
    """A storage may carry out what it answered with an error."""
    plan = plan_of("control", seeds=2)
    go(plan, runs)
    study = study_of(runs)
    study.add_trial(study.trials[0])  # type: ignore[attr-defined]
    shutil.rmtree(runs / "cache")  # which says that the view was given everything
    go(plan, runs)
    shown = [trial.user_attrs["key"] for trial in study_of(runs).trials]  # type: ignore[attr-defined]
    assert sorted(shown) == sorted(trial.key for trial in plan.trials)


def test_factors_are_parameters_and_optuna_finds_the_one_that_matters(runs: Path) -> None:
    import optuna

    plan = factorial()
    go(plan, runs, Instant(effects))
    study = study_of(runs)
    assert {name for trial in study.trials for name in trial.params} == {"a", "b", "seed"}  # type: ignore[attr-defined]
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    assert optuna.importance.get_param_importances(study, evaluator=evaluator)["a"] > 0.8  # type: ignore[arg-type]


def test_the_tuning_is_a_study_of_its_own_with_the_settings_as_points(runs: Path) -> None:
    plan = tuned(trials=3)
    twice = plan.study.tuning.model_copy(update={"seeds": 2})
    plan = replace(plan, study=plan.study.model_copy(update={"tuning": twice}))
    result = go(plan, runs, Instant(train))
    shown = study_of(runs, "tuning").trials  # type: ignore[attr-defined]
    assert len(shown) == 2 * 3 * 2  # arms, settings, seeds
    for arm in result.plan.tuning:
        for setting in arm.settings:
            points = [trial for trial in shown if trial.user_attrs["key"] in {one.key for one in setting.trials}]
            assert sorted(point.params["seed"] for point in points) == [0, 1]
            for point in points:
                assert point.params | setting.values == point.params
                assert point.params["arm"] == arm.arm
                if point.state.name == "COMPLETE":
                    assert point.value == result.records[point.user_attrs["key"]].metrics["val_accuracy"]


def test_a_database_that_another_program_has_locked_is_not_called_damaged(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *given, **named: real(*given, **{**named, "timeout": 0.1}))
    with contextlib.closing(real(runs / "optuna.db")) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert damage_of(runs / "optuna.db") == ""


def test_a_storage_that_cannot_be_reached_is_named_without_its_password(runs: Path) -> None:
    plan = plan_of("control", seeds=1)
    view = OptunaView(runs, "postgresql+psycopg://me:xyzzy@127.0.0.1:9/none")
    with pytest.raises(ViewError, match=r"postgresql\+psycopg://me:\*\*\*@127.0.0.1:9/none cannot be used") as told:
        view.known(plan, {})
    assert "xyzzy" not in str(told.value)
    assert RecordStore(runs, "faults").keys() == set()
