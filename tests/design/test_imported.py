"""A net by its import path: found, read and compared without being imported; part of arms, plans and keys."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ablate.design.imported import Imported, imported, model_from_dict
from ablate.design.plan import CampaignPlan, make_plan
from ablate.design.read import load_study
from ablate.design.source import own_places
from ablate.design.study import Study
from ablate.errors import AblateError, SpecError, StudyError
from ablate.model.spec import Change
from ablate.model.zoo import NETS

Package = Callable[..., Path]
PATTERN_OF_NOTHING = r"no_such_[a-z]{1,9}(\.[a-z]{1,9}){0,3}:[a-z]{1,9}"
NETS_PY = """
raise RuntimeError("this module is imported")
from own_layers import unit

def make_net(width=8, shortcut=True, *, in_channels, num_classes):
    pass

def passes_on(**kwargs):
    pass

CONSTANT = 3
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a package whose modules fail when they are imported; the current directory."""
    folder = tmp_path / "own_package"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "nets.py").write_text(NETS_PY.replace("own_layers", "own_package.layers"))
    (folder / "layers.py").write_text("from . import deeper\nunit = 1\n")
    (folder / "deeper.py").write_text("x = 1\n")
    (folder / "unused.py").write_text("y = 1\n")
    monkeypatch.chdir(tmp_path)
    return folder


def study(**fields: Any) -> Study:
    base = {"name": "x", "control": {"net": "own_package.nets:make_net", "width": 8}, "plan": {"seeds": 1}}
    return Study.model_validate({**base, "data": {"name": "synthetic"}, **fields})


def told(**fields: Any) -> dict[str, str]:
    """Key -> message of what is wrong with a study."""
    with pytest.raises(StudyError) as caught:
        make_plan(study(**fields))
    return {problem.key: problem.message for problem in caught.value.problems}


def test_arms_change_keywords_recipe_data_and_the_net_itself_without_an_import(package: Path) -> None:
    plan = make_plan(study(arms={
        "wide": {"width": 16},
        "gentle": {"shortcut": False, "recipe.lr": 0.001},
        "other": {"net": "own_package.nets:passes_on", "depth": 3},
        "ours": {"net": "mobilenet_v2_mnist", "bottleneck": "relu"},
    }))  # fmt: skip
    control, wide, gentle, other, ours = plan.arms
    assert control.spec == imported("own_package.nets:make_net", {"width": 8})
    assert wide.changes == (Change("width", 8, 16),)
    assert wide.spec.digest == control.spec.digest != ""
    assert [str(change) for change in gentle.changes] == ["shortcut:  -> False", "recipe.lr: 0.006 -> 0.001"]
    assert gentle.spec.keywords == (("shortcut", False), ("width", 8))
    assert other.spec.keywords == (("depth", 3),)  # from that function's own defaults
    assert ours.spec == NETS["mobilenet_v2_mnist"](in_channels=1, num_classes=4).with_changes({"bottleneck": "relu"})
    assert "own_package" not in sys.modules


def test_a_control_of_the_zoo_is_compared_with_an_imported_net(package: Path) -> None:
    plan = make_plan(study(control={"net": "mobilenet_v2_mnist", "dropout": 0.1}, arms={
        "own": {"net": "own_package.nets:make_net", "width": 4},
    }))  # fmt: skip
    assert plan.arm("own").spec == imported("own_package.nets:make_net", {"width": 4})
    assert [change.field for change in plan.arm("own").changes] == ["net", "width"]


def test_factors_cross_keywords_nets_and_the_recipe(package: Path) -> None:
    paths = ["own_package.nets:make_net", "own_package.nets:passes_on"]
    crossed = make_plan(study(factors={"width": [8, 16], "recipe.lr": [0.006, 0.01]}))
    assert [arm.name for arm in crossed.arms] == ["control", "lr-0.01", "width-16", "width-16+lr-0.01"]
    nets = make_plan(study(control={"net": paths[0]}, factors={"net": paths, "recipe.lr": [0.006, 0.01]}))
    assert nets.arms[2].name == "own_package.nets.passes_on"
    assert told(factors={"depth": [1, 2]}, control={"net": paths[1]}) == {
        "factors.depth": "needs the control's own level: set control.depth to one of them"
    }


def test_steps_lead_from_one_set_of_keywords_to_another(package: Path) -> None:
    to = {"net": "own_package.nets:make_net", "width": 16, "shortcut": False, "recipe.lr": 0.01}
    one_by_one = make_plan(study(design={"kind": "add_one_in", "to": to}))
    assert [arm.name for arm in one_by_one.arms] == ["control", "1-width", "2-shortcut", "3-recipe.lr"]
    assert dict(one_by_one.arms[-1].spec.keywords) == {"width": 16, "shortcut": False}
    alone = make_plan(study(design={"kind": "leave_one_out", "to": {"net": "mobilenet_v2_mnist"}}))
    assert [arm.name for arm in alone.arms] == ["control", "without-net"]


def test_a_plan_is_read_back_where_the_code_is_not(package: Path, tmp_path: Path) -> None:
    plan = make_plan(study(arms={"wide": {"width": 16}}))
    text = plan.to_json()
    (package / "nets.py").unlink()
    again = CampaignPlan.from_json(text)
    assert again == plan
    assert str(tmp_path) not in text  # a folder of this machine decides nothing


def test_a_key_holds_path_keywords_and_source(package: Path) -> None:
    def key(**control: Any) -> str:
        own = {"net": "own_package.nets:make_net", "width": 8, **control}
        return make_plan(study(control=own, arms={"a": {"recipe.lr": 0.01}})).trials[0].key

    before = key()
    assert key() == before
    assert len({before, key(width=9), key(net="own_package.nets:passes_on")}) == 3
    (package / "unused.py").write_text("y = 2\n")
    assert key() == before  # nothing imports it
    (package / "deeper.py").write_text("x = 2\n")
    edited = key()
    assert edited != before  # imported by what the net's module imports
    (package / "deeper.py").write_text("x = 1\n")
    assert key() == before


def test_the_folder_of_the_study_file_is_a_place_to_import_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, here = tmp_path / "project", tmp_path / "elsewhere"
    folder.mkdir(), here.mkdir()
    monkeypatch.chdir(here)
    (folder / "beside_study.py").write_text("def net(depth=1): ...\n")
    file = folder / "mine.toml"
    file.write_text('control.net = "beside_study:net"\n[arms.deep]\ndepth = 2\n')
    plan = make_plan(load_study(file))
    assert plan.control.spec.place == str(folder)
    assert str(folder) in own_places()


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("own_pakage.nets:make_net", r"there is no module 'own_pakage' in HERE.* or among the installed packages"),
        ("own_package.net:make_net", r"there is no module 'own_package.net' in .*own_package; did you mean 'nets'\?"),
        ("own_package.nets.deep:f", r"'own_package.nets' \(.*nets.py\) is a module, not a package"),
        ("own_package.nets:make_nett", r"nets.py has no 'make_nett'; did you mean 'make_net'\?"),
        ("own_package.broken:f", r"broken.py, line 2: is not valid Python"),
        ("own_package.nets:", r"must be written PACKAGE.MODULE:FUNCTION"),
        ("os system:f", r"must be written PACKAGE.MODULE:FUNCTION"),
        ("__main__:f", r"'__main__' is the running program"),
    ],
)  # fmt: skip
def test_a_path_that_leads_nowhere_says_what_was_looked_for_and_where(package: Path, path: str, message: str) -> None:
    (package / "broken.py").write_text("x = 1\ndef f(:\n")
    message = message.replace("HERE", re.escape(str(package.parent)))
    found = told(control={"net": path}, arms={"a": {"anything": 1}})
    assert list(found) == ["control.net"]
    assert re.search(message, found["control.net"]), found["control.net"]
    in_an_arm = told(arms={"a": {"net": path}})
    assert re.search(message, in_an_arm["arms.a.net"])


def test_a_keyword_that_the_function_does_not_take_is_refused_before_any_import(package: Path) -> None:
    assert told(arms={"a": {"widht": 4}}) == {
        "arms.a.widht": "is not a keyword of own_package.nets:make_net; did you mean 'width'? "
        "(it takes: width, shortcut, in_channels, num_classes)"
    }
    assert told(arms={"a": {"class": 4}})["arms.a.class"].startswith("cannot be a keyword")
    assert told(control={"net": "own_package.nets:make_net", "depth": 2}, arms={"a": {"width": 2}}).keys() == {
        "control.depth"
    }


def test_a_width_is_not_solved_where_nets_may_not_be_built(package: Path) -> None:
    assert "when the study is run, which builds them" in told(match="macs", arms={"a": {"width": 4}})["match"]


def test_installed_packages_are_found_by_name_alone() -> None:
    script = (
        "import sys; from ablate.design.imported import imported\n"
        "net = imported('torchvision.models:resnet18', {'anything': 1}); assert net.digest and not net.place\n"
        "print([name for name in ('torchvision', 'torch') if name in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


@given(st.text(max_size=40) | st.from_regex(PATTERN_OF_NOTHING, fullmatch=True))
@example("a:b")
@example("..:x")
@example("ablate.design:\x00")
def test_any_text_that_leads_to_no_function_is_refused_in_words(text: str) -> None:
    with pytest.raises(SpecError) as caught:
        imported(text)
    assert caught.value.field == "net"


LEVELS = st.text(max_size=5) | st.integers(-9, 9) | st.floats(allow_nan=False, allow_infinity=False) | st.booleans()


@given(st.dictionaries(st.from_regex(r"[a-z]{1,5}", fullmatch=True), LEVELS))
def test_an_imported_net_comes_back_from_json(keywords: dict[str, Any]) -> None:
    net = Imported(path="a.b:c", keywords=tuple(sorted(keywords.items())), digest="0" * 16)
    assert model_from_dict(json.loads(json.dumps(net.to_dict()))) == net


def test_an_imported_net_of_a_newer_version_is_refused_by_field() -> None:
    with pytest.raises(AblateError, match="field 'wrapped' in Imported"):
        model_from_dict({"path": "a:b", "wrapped": True}, "plan of format 1")
