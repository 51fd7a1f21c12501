"""One trial of the user's own training: what it is told, what it may return, and what is said of what it may not."""

from __future__ import annotations

import json
import math
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ablate.design.own_training import OwnTraining
from ablate.design.record import Record, ReportedPoint
from ablate.design.study import DataSpec, Level, Recipe
from ablate.design.trial import Trial
from ablate.training.own import STARTED, Fields, train_own
from ablate.training.returned import returned_of
from ablate.training.user_code import UserCodeError

MODULE = """
import math, random, sys
import numpy as np
import torch

def tells(trial):
    drawn = random.random() + np.random.rand() + torch.rand(()).item()
    return {"val_bits": drawn, "lr": trial.fields.lr, "same": trial.fields["lr"], "seed": trial.seed}

def reports(trial):
    for epoch in (1, 2, 3):
        trial.report(epoch, {"val_bits": 1 / epoch, "lr": torch.tensor(0.1)})
    return {"val_bits": np.float32(0.25)}

def resumes(trial):
    first = not (trial.folder / "state").exists()
    (trial.folder / "state").touch()
    for epoch in (1, 2) if first else (2, 3):
        trial.report(epoch, {"val_bits": float(epoch)})
    if first:
        raise RuntimeError("killed after two epochs")
    return {"val_bits": 3.0}

def returns(trial):
    return eval(trial.fields.value)

def exits(trial):
    sys.exit(3)

def misreads(trial):
    return {"val_bits": trial.fields.rl}

def misreports(trial):
    trial.report(*eval(trial.fields.value))
    return {"val_bits": 1.0}

def two(trial, more):
    return {}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("own")
    (found / "trains_here.py").write_text(MODULE)
    sys.path.append(str(found))
    return found


Train = Callable[..., Record]


@pytest.fixture
def train(folder: Path, tmp_path: Path) -> Train:
    """Trains a function of the module above, or a command, in this process."""

    def run(function: str = "", *, command: tuple[str, ...] = (), seed: int = 0, **fields: Level) -> Record:
        path = f"trains_here:{function}" if function else ""
        spec = OwnTraining(path=path, command=command, keywords=tuple(sorted(fields.items())), place=str(folder))
        trial = Trial(
            study="own", arm="control", seed=seed, spec=spec, recipe=Recipe(), data=DataSpec(), metrics=("val_bits",)
        )  # fmt: skip
        return train_own(trial, tmp_path, device="cpu", threads=1, on_point=lambda _: None)

    return run


def test_a_trainer_gets_its_fields_and_seed_and_unseeded_draws_follow_the_seed(train: Train) -> None:
    first, again, other = (train("tells", seed=seed, lr=0.5) for seed in (7, 7, 8))
    random.seed(7), torch.manual_seed(7)
    drawn = random.random() + np.random.RandomState(7).rand() + torch.rand(()).item()
    assert first.metrics == {"val_bits": drawn, "lr": 0.5, "same": 0.5, "seed": 7.0}
    assert again.same_result(first)
    assert other.metrics["val_bits"] != drawn


def test_reported_points_are_the_curve_and_travel_with_the_record(train: Train) -> None:
    record = train("reports")
    assert record.metrics == {"val_bits": 0.25}
    assert [point.values["val_bits"] for point in record.curve] == [1, 1 / 2, 1 / 3]
    assert Record.from_json(record.to_json()) == record
    assert record.measured.wall_s > 0


def test_a_resumed_trial_has_the_whole_curve_and_no_epoch_twice(train: Train) -> None:
    with pytest.raises(UserCodeError, match="killed after two epochs"):
        train("resumes")
    record = train("resumes")
    assert [(point.epoch, point.values["val_bits"]) for point in record.curve] == [(1, 1.0), (2, 2.0), (3, 3.0)]


def test_a_trial_that_was_interrupted_counts_from_its_first_start(train: Train, tmp_path: Path) -> None:
    before = time.time()
    with pytest.raises(UserCodeError, match="killed after two epochs"):
        train("resumes")
    sealed_in_between = time.time()
    assert before <= train("resumes").measured.started_at <= sealed_in_between
    for damaged in ("", "nan", "soon", "1e300"):
        (tmp_path / STARTED).write_text(damaged)
        now = time.time()
        assert now <= train("reports").measured.started_at <= time.time()


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("None", "returned None (NoneType); it must be a table of metrics"),
        ("0.5", "returned 0.5 (float); it must be a table of metrics"),
        ("{'val_bit': 0.5}", "gave no 'val_bits'; did you mean 'val_bit'? (it gave: val_bit)"),
        ("{}", "gave no 'val_bits' (it gave: nothing)"),
        ("{'val_bits': 'low'}", "returned val_bits = 'low' (str); a metric must be a number"),
        ("{'val_bits': None}", "a metric must be a number"),
        ("{'val_bits': True}", "a metric must be a number"),
        ("{'val_bits': torch.zeros(3)}", "a metric must be a number"),
        ("{'val_bits': 10**400}", "too many digits"),
        ("{'val bits': 1.0}", "a metric called 'val bits' (str); its name must be"),
        ("{3: 1.0}", "a metric called 3 (int); its name must be"),
        ("{'val_bits': [0.5, 'x']}", "a metric must be a number"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
    ],
)
def test_what_is_no_table_of_numbers_is_told_with_what_it_was(train: Train, value: str, told: str) -> None:
    with pytest.raises(UserCodeError) as raised:
        train("returns", value=value)
    assert told in str(raised.value)
    assert "trains_here:returns" in str(raised.value)


GIVEN_CLASSES = (
    "[0, 1, 2, 2]",
    "np.array([0, 1, 2, 2])",
    "np.array([0, 1, 2, 2], np.uint8)",
    "torch.tensor([0, 1, 2, 2])",
    "(0, 1, 2, 2)",
)


@pytest.mark.parametrize("classes", GIVEN_CLASSES)
def test_predictions_of_each_test_example_are_recorded(train: Train, classes: str) -> None:
    value = f"{{'val_bits': 1.0, 'test_accuracy': 0.75, 'predictions': {classes}, 'labels': [0, 1, 2, 1]}}"
    record = train("returns", value=value)
    assert set(record.metrics) == {"val_bits", "test_accuracy"}
    assert np.frombuffer(record.predictions, "<u2").tolist() == [0, 1, 2, 2]
    assert np.unpackbits(np.frombuffer(record.correct, np.uint8), count=4).tolist() == [1, 1, 1, 0]
    assert record.chance == 0.5
    assert Record.from_json(record.to_json()) == record


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("{'predictions': [1]}", "returned predictions without labels"),
        ("{'labels': [1]}", "returned labels without predictions"),
        ("{'predictions': [1, 2], 'labels': [1]}", "returned 2 predictions and 1 labels"),
        ("{'predictions': [1, 0.5], 'labels': [1, 1]}", "predictions[1] = 0.5 (float); a class must be a whole number"),
        ("{'predictions': [1, -1], 'labels': [1, 1]}", "predictions[1] = -1 (int); a class must be a whole number"),
        ("{'predictions': [True], 'labels': [1]}", "predictions[0] = True (bool)"),
        ("{'predictions': [1], 'labels': ['cat']}", "labels[0] = 'cat' (str); a class must be a whole number"),
        ("{'predictions': np.eye(2), 'labels': [1, 1]}", "predictions[0] = [1.0, 0.0] (list)"),
        ("{'predictions': [], 'labels': []}", "predictions = [] (list); it must be a list with the class of each"),
        ("{'predictions': 3, 'labels': 3}", "predictions = 3 (int); it must be a list"),
        (
            "{'test_accuracy': 0.9, 'predictions': [1, 2], 'labels': [1, 1]}",
            "test_accuracy = 0.9, but of its predictions 0.5 are right",
        ),
    ],
)
def test_predictions_of_another_shape_are_refused_with_their_value(train: Train, value: str, told: str) -> None:
    with pytest.raises(UserCodeError) as raised:
        train("returns", value=f"{{'val_bits': 1.0, **{value}}}")
    assert told in str(raised.value)


@pytest.mark.parametrize("value", ["math.nan", "math.inf", "-math.inf", "torch.tensor(float('nan'))"])
def test_a_metric_that_is_not_finite_is_a_trial_that_diverged(train: Train, value: str) -> None:
    record = train("returns", value=f"{{'val_bits': {value}, 'other': 1.0}}")
    assert record.status == "diverged"
    assert record.reason.startswith("val_bits is ")


def test_a_further_metric_may_be_nan(train: Train) -> None:
    record = train("returns", value="{'val_bits': 1.0, 'other': math.nan}")
    assert record.status == "finished"
    assert math.isnan(record.metrics["other"])


@pytest.mark.parametrize(
    ("function", "told"),
    [
        ("exits", "ended the process with exit code 3"),
        ("misreads", "[control] has no field 'rl'; did you mean 'lr'? (it has: lr)"),
        ("two", "must take one argument, the trial; it is two(trial, more): missing a required argument"),
        ("is_not_there", "has no 'is_not_there'"),
    ],
)
def test_a_trainer_that_cannot_be_called_says_why(train: Train, function: str, told: str) -> None:
    with pytest.raises(UserCodeError) as raised:
        train(function, lr=0.1)
    assert told in str(raised.value)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("('1', {'a': 1.0})", "epoch must be a whole number"),
        ("(1, 0.5)", "report: got 0.5 (float); it must be a table"),
        ("(1, {'a': 'x'})", "report: got a = 'x' (str); a metric must be a number"),
    ],
)
def test_a_report_that_is_none_says_why(train: Train, value: str, told: str) -> None:
    with pytest.raises(UserCodeError) as raised:
        train("misreports", value=value)
    assert told in str(raised.value)


def python(*lines: str) -> tuple[str, ...]:
    return ("python", "-c", "\n".join(["import json, os, sys", *lines]), "{lr}", "{seed}", "{out}")


WRITES = "json.dump({}, open(sys.argv[3], 'w'))"


def test_a_command_is_told_fields_seed_and_file_and_a_list_is_a_curve(train: Train) -> None:
    value = "{'val_bits': [3, 2, 1.5], 'lr': float(sys.argv[1]), 'seed': int(sys.argv[2]), 'x': int(x)}"
    record = train(command=python("x = os.environ['ABLATE_SEED']", WRITES.format(value)), lr=0.25, seed=9)
    assert record.metrics == {"val_bits": 1.5, "lr": 0.25, "seed": 9.0, "x": 9.0}
    assert record.curve == tuple(
        ReportedPoint(epoch=place, metrics={"val_bits": value}) for place, value in ((1, 3.0), (2, 2.0), (3, 1.5))
    )


def test_a_command_finds_the_file_to_write_in_its_environment(train: Train) -> None:
    record = train(command=python("json.dump({'val_bits': 1}, open(os.environ['ABLATE_OUT'], 'w'))"), lr=1)
    assert record.metrics == {"val_bits": 1.0}


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("pass", "wrote no metrics: write them as JSON to the file that {out} or $ABLATE_OUT names"),
        ("open(sys.argv[3], 'w').write('val_bits: 1')", "must be JSON, got 'val_bits: 1'"),
        ("open(sys.argv[3], 'wb').write(b'\\xff')", "must be JSON in UTF-8; byte 0 is not"),
        ("open(sys.argv[3], 'w').write('[1]')", "wrote [1] (list); it must be a table of metrics"),
        ("os.mkdir(sys.argv[3])", "metrics.json: is not a file"),
        ("os.mkfifo(sys.argv[3])", "metrics.json: is not a file"),
        ("os.symlink('/dev/zero', sys.argv[3])", "metrics.json: is not a file"),
        ("sys.exit(4)", "ended with exit code 4"),
        ("os.kill(os.getpid(), 9)", "was killed by signal 9"),
    ],
)
def test_a_command_without_metrics_says_what_is_wrong(train: Train, line: str, told: str) -> None:
    with pytest.raises(UserCodeError) as raised:
        train(command=python(line), lr=1)
    assert told in str(raised.value)


def test_a_command_that_writes_nan_has_diverged(train: Train) -> None:
    assert train(command=python(WRITES.format("{'val_bits': float('nan')}")), lr=1).status == "diverged"


def test_what_an_earlier_attempt_wrote_is_not_taken_for_this_ones(train: Train, tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text(json.dumps({"val_bits": 1.0}))
    with pytest.raises(UserCodeError, match="wrote no metrics"):
        train(command=python("pass"), lr=1)


leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)


inside = st.recursive(
    leaves, lambda one: st.lists(one, max_size=3) | st.dictionaries(st.text(max_size=5), one, max_size=3), max_leaves=8
)


@given(found=inside)
def test_whatever_is_returned_is_numbers_or_a_sentence(found: object) -> None:
    try:
        returned = returned_of(found, "it returned")
    except UserCodeError as error:
        assert str(error).startswith("it returned")  # noqa: PT017
        return
    assert all(isinstance(value, float) for value in returned.metrics.values())


def test_fields_are_a_mapping_and_attributes() -> None:
    fields = Fields({"lr": 0.1, "layers": 2})
    assert dict(**fields) == {"lr": fields.lr, "layers": fields["layers"]}
    with pytest.raises(AttributeError, match="has no field 'layer'; did you mean 'layers'"):
        _ = fields.layer
