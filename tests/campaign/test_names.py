"""What a study file calls things becomes parts of paths; none of them leads out of the runs folder."""

from __future__ import annotations

from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st
from instant import go
from pydantic import ValidationError

from ablate.campaign.records import RecordStore
from ablate.design.plan import make_plan
from ablate.design.read import load_study
from ablate.design.study import Study
from ablate.errors import StudyError

ESCAPES = ("..", "../x", "/etc/x", "a/../../x", "a/b", "~", ".hidden", "a\\b", "x\0", "x\n", "", "..\u2215x")
names = st.one_of(st.sampled_from(ESCAPES), st.text(max_size=70), st.text("ab./\\~", max_size=6))


@given(names)
@example("a" * 64)
@example("a..b+-")
def test_a_studys_name_is_refused_or_names_one_folder_inside_the_runs(name: str) -> None:
    runs = Path("/there/runs")
    try:
        study = Study.model_validate({"name": name, "arms": {"relu": {"bottleneck": "relu"}}})
    except ValidationError:
        return
    store = RecordStore(runs, study.name)
    for folder in (store.records, store.folder("key").parent, runs / "locks" / study.name):
        assert folder.resolve().parent == folder.parent
        assert folder.is_relative_to(runs)
        assert folder.name == name


@given(names)
def test_an_arms_name_is_refused_or_is_a_single_part_of_a_path(name: str) -> None:
    try:
        Study.model_validate({"name": "x", "arms": {name: {"bottleneck": "relu"}}})
    except ValidationError:
        return
    assert Path("/there", name).resolve() == Path("/there") / name
    assert Path(name).name == name


def test_files_with_names_that_lead_elsewhere_are_refused_and_odd_ones_stay_in_the_runs(tmp_path: Path) -> None:
    for number, name in enumerate(ESCAPES):
        path = tmp_path / f"escape{number}.toml"
        quoted = "".join(f"\\U{ord(letter):08x}" for letter in name)
        path.write_text(f'[arms."{quoted}"]\nbottleneck = "relu"\n')
        try:
            load_study(path)
        except StudyError as error:
            assert str(path) in str(error)  # noqa: PT017 - each of them must come here
        else:
            raise AssertionError(name)
    odd = tmp_path / "a..b+-.toml"
    odd.write_text('data = {name = "synthetic"}\nplan = {seeds = 1}\n[arms."x..y+-"]\nbottleneck = "relu"\n')
    before = set(tmp_path.rglob("*"))
    plan = make_plan(load_study(odd))
    assert not go(plan, tmp_path / "runs").missing
    made = set(tmp_path.rglob("*")) - before
    assert made
    assert all(path == tmp_path / "runs" or path.is_relative_to(tmp_path / "runs") for path in made)
