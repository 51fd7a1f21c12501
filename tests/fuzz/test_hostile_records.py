"""A runs folder that somebody else wrote: whatever its records and plans hold, it is read or refused in a sentence.

Everything in such a file can be chosen, its checksum too. Crashes that were found are cases in ``corpus``: a file each,
with the place that was changed and the value that it got.
"""

from __future__ import annotations

import base64
import contextlib
import copy
import functools
import hashlib
import io
import json
import re
import resource
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ablate.campaign.records import RecordStore, plan_path, writable
from ablate.design.plan import CampaignPlan, make_plan
from ablate.design.record import EpochPoint, Measured, Record
from ablate.design.sealed import SealedPlan
from ablate.design.study import Study
from ablate.design.trial import Trial
from ablate.errors import AblateError

CORPUS = sorted((Path(__file__).parent / "corpus").glob("*.json"))
SCRIPT = "<script>alert(1)</script>\x1b]0;title\x07\x1b[31m"
VALUES: list[Any] = [
    *(None, True, -1, 0, 1, 10**12, 10**400, -0.5, 1e308, float("nan"), float("inf")),
    *("", "x", "../../x", "A" * 3000, "\ud800", SCRIPT, [], [1], [[]], [SCRIPT], {}, {"a": 1}, {SCRIPT: SCRIPT}),
]
STUDY: dict[str, Any] = {
    "name": "hostile", "data": {"name": "synthetic"},
    "arms": {"relu": {"bottleneck": "relu"}, "full": {"conv": "full"}},
    "recipe": {"epochs": 1}, "plan": {"seeds": 2}, "noise_floor": True,
}  # fmt: skip


FACTORIAL: dict[str, Any] = {
    "name": "crossed", "data": {"name": "synthetic"}, "recipe": {"epochs": 1}, "plan": {"seeds": 2},
    "factors": {"bottleneck": ["linear", "relu"], "conv": ["depthwise", "full"]},
}  # fmt: skip


@functools.cache
def the_plan() -> CampaignPlan:
    return make_plan(Study(**STUDY))


def record_of(trial: Trial) -> Record:
    point = EpochPoint(epoch=1, train_loss=1.0, train_accuracy=0.5, val_loss=1.0, val_accuracy=0.5, lr=0.01)
    return Record.of(
        trial, "finished", curve=(point,), chance=0.25, predictions=bytes(range(8)), correct=b"\x0f", test_labels="a",
        metrics={"test_accuracy": 0.5 + trial.seed % 7 / 100, "test_loss": 1.0, "val_accuracy": 0.5, "val_loss": 1.0},
        measured=Measured(hardware="a machine", versions={"torch": "2"}, settings=("keep_memory",), started_at=1.7e9),
    )  # fmt: skip


def signed(plain: dict[str, Any]) -> str:
    """The text of a record with a checksum that fits."""
    rest = {name: value for name, value in plain.items() if name != "sha256"}
    checksum = hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()
    return json.dumps({**rest, "sha256": checksum}, sort_keys=True)


def places(plain: Any, place: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Where in a JSON document something can be changed; of a list the first two items."""
    if place:
        yield place
    items = plain.items() if isinstance(plain, dict) else enumerate(plain[:2]) if isinstance(plain, list) else ()
    for name, value in items:
        yield from places(value, (*place, name))


def changed(plain: Any, place: tuple[str | int, ...], value: Any) -> Any:
    new = copy.deepcopy(plain)
    inner = new
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = value
    return new


@functools.cache
def plain_record() -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(record_of(the_plan().trials[0]).to_json())
    return plain


@functools.cache
def plain_seal(crossed: bool = False) -> dict[str, Any]:
    plan = make_plan(Study(**FACTORIAL)) if crossed else the_plan()
    plain: dict[str, Any] = json.loads(SealedPlan(plan=plan, sealed_at=1.7e9, commit="c").to_json())
    return plain


def records_with(place: tuple[str | int, ...], value: Any, *, every: bool) -> dict[str, Record]:
    """The plan's records with one place changed, in every one or in the first; those that are refused are left out."""
    found: dict[str, Record] = {}
    for number, trial in enumerate(the_plan().trials):
        plain = json.loads(record_of(trial).to_json())
        text = signed(changed(plain, place, value) if every or not number else plain)
        with contextlib.suppress(AblateError):
            record = Record.from_json(text)
            if record.key == trial.key:  # as the record store requires
                found[trial.key] = record
    return found


def shows(plan: CampaignPlan, records: dict[str, Record], *, page: bool = False) -> None:
    """Judges and prints; no script and no escape sequence comes through."""
    from ablate.reporting.json_output import judgement_json
    from ablate.reporting.page import render_page
    from ablate.reporting.results import results_of
    from ablate.reporting.terminal import print_results

    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        results = results_of(plan, {}, records)
        print_results(results)
    assert "\x1b" not in out.getvalue()
    json.loads(judgement_json(results.judgement, control="control", costs={}))
    if page:
        html, _ = render_page(results)
        assert "<script>alert" not in html
        assert "\x1b" not in html


def check_record(place: tuple[str | int, ...], value: Any, *, every: bool = True, page: bool = False) -> None:
    records = records_with(place, value, every=every)
    if records:
        shows(the_plan(), records, page=page)


def check_plan(place: tuple[str | int, ...], value: Any, *, crossed: bool = False) -> None:
    try:
        sealed = SealedPlan.from_json(json.dumps(changed(plain_seal(crossed), place, value)))
    except AblateError:
        return
    assert plan_path(Path("/runs"), sealed.plan.study).parent == Path("/runs/plans")
    store = RecordStore(Path("/runs"), sealed.plan.study.name)
    assert {store.path(trial.key).parent for trial in sealed.plan.trials} <= {store.records}
    shows(sealed.plan, {trial.key: record_of(trial) for trial in sealed.plan.trials})


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_what_once_crashed_is_refused_or_shown(path: Path) -> None:
    case = json.loads(path.read_text())
    if case["file"] == "record":
        check_record(tuple(case["place"]), case["value"], page=case.get("page", False))
    else:
        check_plan(tuple(case["place"]), case["value"])


ANY_VALUE = st.sampled_from(VALUES) | st.integers() | st.floats() | st.text(max_size=20)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_a_record_with_anything_anywhere_is_judged_or_refused(data: st.DataObject) -> None:
    place = data.draw(st.sampled_from([*places(plain_record())]))
    check_record(place, data.draw(ANY_VALUE), every=data.draw(st.booleans()))


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_a_plan_with_anything_anywhere_is_judged_or_refused(data: st.DataObject) -> None:
    crossed = data.draw(st.booleans())
    check_plan(data.draw(st.sampled_from([*places(plain_seal(crossed))])), data.draw(ANY_VALUE), crossed=crossed)


@pytest.mark.slow
@pytest.mark.parametrize("every", [True, False])
def test_every_value_in_every_place_of_a_record_is_shown_or_refused(every: bool) -> None:
    for number, place in enumerate(places(plain_record())):
        for value in VALUES:
            check_record(place, value, every=every, page=every and not number % 5 and isinstance(value, str | list))


@pytest.mark.slow
@pytest.mark.parametrize("crossed", [True, False])
def test_every_value_in_every_place_of_a_plan_is_shown_or_refused(crossed: bool) -> None:
    for place in places(plain_seal(crossed)):
        for value in VALUES:
            check_plan(place, value, crossed=crossed)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "null", "[]", '"x"', "1e999", "", "\x00"])
def test_any_json_is_refused_in_a_sentence(text: str) -> None:
    for kind in (Record, SealedPlan, CampaignPlan):
        with pytest.raises(AblateError, match="not a"):
            kind.from_json(text)  # type: ignore[attr-defined]


def test_a_small_record_that_unpacks_to_gigabytes_is_refused_before_it_fills_the_memory() -> None:
    packer = zlib.compressobj(9)
    content = b"".join(packer.compress(bytes(2**24)) for _ in range(8)) + packer.flush()  # 128 MiB in 130 kB
    text = signed(changed(plain_record(), ("predictions",), base64.b64encode(content).decode()))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(AblateError, match="more than 64 MiB"):
        Record.from_json(text)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KB


@pytest.mark.parametrize("key", ["../../../x", "/etc/passwd", "0123456789abcde", "0123456789abcdeg", "", None, 7])
def test_a_plan_cannot_name_a_file_outside_its_records(key: object) -> None:
    plain = plain_seal()["plan"]
    with pytest.raises(AblateError, match="not a plan"):
        CampaignPlan.from_json(json.dumps(changed(plain, ("trials", 0, 2), key)))


@pytest.mark.parametrize("seconds", [-1, 10**400, 1e300, float("nan"), float("inf"), "soon", None])
def test_a_plan_sealed_at_no_date_is_refused(seconds: object) -> None:
    with pytest.raises(AblateError, match="not a sealed plan"):
        SealedPlan.from_json(json.dumps({**plain_seal(), "sealed_at": seconds}))


@pytest.mark.parametrize("content", ['{"layout": Infinity}', "[" * 100_000, "[]", '{"layout": []}', "", "\xff"])
def test_a_damaged_layout_is_told_with_its_file(tmp_path: Path, content: str) -> None:
    (tmp_path / "layout.json").write_text(content, encoding="latin-1")
    with pytest.raises(AblateError, match=re.escape(f"{tmp_path / 'layout.json'}: must hold")), writable(tmp_path):
        pass


@pytest.mark.parametrize("value", ["x", [], {}, -1, 10**400, float("nan"), float("inf"), SCRIPT])
def test_measured_costs_that_are_no_numbers_are_not_taken(tmp_path: Path, value: object) -> None:
    from ablate.campaign.prepare import _path, known_costs

    plan = the_plan()
    records = {trial.key: record_of(trial) for trial in plan.trials}
    kept = {"macs": 7, "latency_ms": 1.5, "latency_busy": False, "latency_batch_ms": None}
    for content, macs in ((kept, 7), ({**kept, "macs": value}, 564_464)):
        for arm in plan.arms[:1]:
            path = _path(plan, arm, tmp_path, "cpu", 1)
            path.write_text(json.dumps(content))
        assert known_costs(plan, tmp_path, records)[0]["control"]["macs"] == macs


def planted(kind: str, path: Path) -> None:
    """Something at the place of a record that is no file."""
    import os

    path.parent.mkdir(parents=True)
    if kind == "a folder":
        path.mkdir()
    elif kind == "a pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")


@pytest.mark.parametrize("kind", ["a folder", "a pipe", "a link to a device"])
def test_a_record_that_is_no_file_is_told_and_set_aside_and_not_waited_for(tmp_path: Path, kind: str) -> None:
    store = RecordStore(tmp_path, "hostile")
    path = store.path("0123456789abcdef")
    planted(kind, path)
    with pytest.raises(AblateError, match=re.escape(f"{path}: is not a file")):
        store.read(path.stem)
    assert store.take(path.stem) == (None, f"{path}: is not a file; set aside as {path.name}.damaged")


def test_the_report_of_a_hostile_folder_runs_no_script_and_unpickles_nothing(tmp_path: Path) -> None:
    """In a process of its own, with every string of every record and of the plan a script, and a pickle as weights."""
    store = RecordStore(tmp_path / "runs", "hostile")
    bomb = b"cos\nsystem\n(S'touch %s'\ntR." % str(tmp_path / "ran").encode()
    for trial in the_plan().trials:
        plain = json.loads(record_of(trial).to_json())
        plain |= {"reason": SCRIPT, "notes": [SCRIPT], "test_labels": SCRIPT, "arm": SCRIPT}
        plain["measured"] |= {"hardware": SCRIPT, "kernels": SCRIPT, "commit": SCRIPT, "versions": {"torch": SCRIPT}}
        store.keep(trial.key, signed(plain))
        store.weights(trial.key).write_bytes(bomb)
    seal = copy.deepcopy(plain_seal())
    seal["plan"]["study"] |= {"title": "<script>alert(1)</script>", "question": "<script>alert(1)</script>"}
    sealed = SealedPlan.from_json(json.dumps(seal))
    path = plan_path(tmp_path / "runs", sealed.plan.study)
    path.parent.mkdir()
    path.write_text(json.dumps(seal))
    command = [sys.executable, "-m", "ablate.report", "hostile", "--runs", str(tmp_path / "runs")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    pages = [page.read_text() for page in (tmp_path / "runs" / "reports").rglob("*.html")]
    assert pages
    assert not any("<script>alert" in page or "\x1b" in page for page in pages)
    assert not (tmp_path / "ran").exists()
