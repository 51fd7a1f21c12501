"""The JSON schema of a study file: in step with the model, true of the shipped studies, and refusing what is wrong."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from ablate.design.read import load_study
from ablate.design.schema import study_schema
from ablate.errors import StudyError

FOLDER = Path(__file__).parents[2] / "studies"
SHIPPED = sorted(FOLDER.glob("*.toml"))
VALIDATOR = Draft202012Validator(study_schema())


def test_the_shipped_schema_is_the_one_that_is_made_now() -> None:
    shipped = json.loads((FOLDER / "study.schema.json").read_text())
    assert shipped == json.loads(json.dumps(study_schema())), (
        "python -m ablate.study --schema > studies/study.schema.json"
    )
    Draft202012Validator.check_schema(shipped)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_study_names_the_schema_and_agrees_with_it(path: Path) -> None:
    text = path.read_text()
    before, line, _ = text.partition("#:schema study.schema.json\n")
    assert line
    assert all(one.startswith("#") for one in before.splitlines())
    VALIDATOR.validate(tomllib.loads(text))


HEAD = "[arms.a]\nbottleneck = 'relu'\n"
OWN_DECISION = "[decision]\nmetric = 'val_bits'\nhigher_is_better = false\nmargin = 0.1\n"
WRONG = (
    "[recipe]\nlearning_rate = 1\n" + HEAD,
    "[recipe]\nlr = -1\n" + HEAD,
    "[recipe]\nepochs = 2.5\n" + HEAD,
    "match = 'flops'\n" + HEAD,
    "[arms.a]\nbottleneck = 'ReLU'\n",
    "[arms.a]\nbotleneck = 'relu'\n",
    "[arms.a]\nrecipe.optimizer = 'adam_w'\n",
    "[arms.a]\n'recipe.optimizer' = 'adam_w'\n",
    "[arms.a]\ndata.name = 'mnist'\n",
    "[arms.'a b']\nbottleneck = 'relu'\n",
    "[factors]\nconv = ['full']\n",
    "[factors]\nconv = ['full', 'half']\n",
    "[factors]\nrecipe.optimizer = ['adamw', 'x']\n",
    "expect = { a = 'good' }\n" + HEAD,
    "[budget.full]\nrecipe.lr = 0\n" + HEAD,
    "name = 'x'\n" + HEAD,
    "[control]\nnet = 'torchvision.models:resnet18'\n[arms.a]\n'recipe.optimizer' = 'adam_w'\n",
    "[control]\nnet = 'torchvision.models:resnet18'\n[arms.a]\n'recipe.learning_rate' = 1\n",
    "[control]\nnet = 'torchvision.models:resnet18'\n[arms.a]\nzero_init_residual = [true]\n",
    "[arms.a]\nresidual = 'a block'\n",
    "trainer = 'json:loads'\ncontrol.lr = 1\n[arms.'a b']\nlr = 2\n" + OWN_DECISION,
    "command = 'python'\ncontrol.lr = 1\n[arms.a]\nlr = 2\n" + OWN_DECISION,
    "trainer = 'json:loads'\ncontrol.lr = [1]\n[arms.a]\nlr = 2\n" + OWN_DECISION,
)
IMPORTED = "[control]\nnet = 'torchvision.models:resnet18'\n"
RIGHT = (
    IMPORTED + "[arms.a]\nzero_init_residual = true\nrecipe.lr = 0.1\n",
    IMPORTED
    + "zero_init_residual = false\n[factors]\nzero_init_residual = [false, true]\nrecipe.flip = [false, true]\n",
    IMPORTED
    + "[design]\nkind = 'add_one_in'\nto = { net = 'torchvision.models:resnet18', zero_init_residual = true }\n",
    IMPORTED + "width_per_group = 64\n[stability]\nwidth_per_group = [32, 64]\n[arms.a]\nzero_init_residual = true\n",
    IMPORTED + "[arms.a]\nzero_init_residual = true\n[budget.full]\narms.a.zero_init_residual = true\n",
    "[arms.a]\nnet = 'torchvision.models:resnet18'\nzero_init_residual = true\n",
    "[arms.a]\nresidual = 'schema_block:Mine'\n[arms.b]\nnorm = 'group'\n",
    "[factors]\nresidual = ['inverted', 'schema_block:Mine']\n",
    HEAD,
    "[arms.a]\nrecipe.label_smoothing = 0.1\n'data.fraction' = 0.5\n",
    (
        "expect = { conv = 'better', recipe.optimizer = 'undecided', 'conv:recipe.optimizer' = 'undecided' }\n"
        "[factors]\nconv = ['full', 'depthwise']\nrecipe.optimizer = ['adamw', 'sgd']\n"
    ),
    "[tuning]\ntrials = 2\n[tuning.space]\nlr = { low = 1e-3, high = 1e-1 }\n" + HEAD,
    "[design]\nkind = 'leave_one_out'\nto = { net = 'mobilenet_v1', recipe.flip = true }\n",
    "trainer = 'statistics:mean'\ncontrol = { lr = 1, mine = 'x' }\n[arms.a]\nlr = 2\n" + OWN_DECISION,
    "command = ['env', '{lr}']\ncontrol.lr = 1\n[factors]\nlr = [1, 2]\n[budget.full]\ncontrol.lr = 1.0\n"
    + OWN_DECISION,
)


def refusals(folder: Path, text: str) -> list[str]:
    """Who refuses a file: the schema, the reader."""
    path = folder / "mine.toml"
    path.write_text(text)
    code = "class Mine:\n    def __init__(self, in_channels, out_channels, stride): ...\n"
    (folder / "schema_block.py").write_text(code)
    tables: dict[str, Any] = tomllib.loads(text)
    found = [] if VALIDATOR.is_valid(tables) else ["schema"]
    try:
        load_study(path)
    except StudyError:
        found.append("reader")
    return found


@pytest.mark.parametrize("text", WRONG)
def test_what_the_schema_refuses_the_reader_refuses(tmp_path: Path, text: str) -> None:
    assert refusals(tmp_path, text) == ["schema", "reader"]


@pytest.mark.parametrize("text", RIGHT)
def test_what_is_right_is_right_for_both(tmp_path: Path, text: str) -> None:
    assert refusals(tmp_path, text) == []
