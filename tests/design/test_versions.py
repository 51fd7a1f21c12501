"""Files of earlier versions are read; those of later ones are refused by number and field."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ablate.design.plan import CampaignPlan
from ablate.design.record import EpochPoint, Measured, Record
from ablate.errors import AblateError

KEPT = Path(__file__).parent / "kept"
RECORDS = sorted(KEPT.glob("format_*/records/*.json"))
PLANS = sorted(KEPT.glob("format_*/plan.json"))


def signed(plain: dict[str, Any]) -> str:
    """A record's JSON with the checksum over the rest."""
    rest = {name: value for name, value in plain.items() if name != "sha256"}
    checksum = hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()
    return json.dumps({**rest, "sha256": checksum}, sort_keys=True)


def holds(new: Any, old: Any) -> bool:
    """Whether ``new`` has every value of ``old``, and perhaps further fields, or one where ``old`` had null."""
    if isinstance(old, dict):
        return all(name in new and holds(new[name], value) for name, value in old.items())
    if isinstance(old, list):
        return len(new) == len(old) and all(map(holds, new, old))
    return old is None or json.dumps(new) == json.dumps(old)  # as text, so that nan equals nan


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_every_field_of_a_kept_record_is_read(path: Path) -> None:
    written = json.loads(path.read_text())
    again = json.loads(Record.from_json(path.read_text()).to_json())
    assert holds({**again, "format": written["format"], "sha256": written["sha256"]}, written)


@pytest.mark.parametrize("path", PLANS, ids=lambda path: path.parent.name)
def test_every_field_of_a_kept_plan_is_read_and_its_trials_keep_their_keys(path: Path) -> None:
    written = json.loads(path.read_text())
    plan = CampaignPlan.from_json(path.read_text())
    assert [[trial.arm, trial.seed, trial.key] for trial in plan.trials] == written["trials"]
    assert holds(json.loads(plan.to_json()), written)
    assert CampaignPlan.from_json(plan.to_json()) == plan


@pytest.mark.parametrize(
    ("part", "kind"), [((), Record), (("curve", 0), EpochPoint), (("measured",), Measured)], ids=str
)
def test_a_record_without_a_field_that_has_a_default_has_that_default(part: tuple[Any, ...], kind: type) -> None:
    text = next(path for path in RECORDS if path.stem == "finished").read_text()
    for field in dataclasses.fields(kind):
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            continue
        plain = json.loads(text)
        at = plain
        for step in part:
            at = at[step]
        at.pop(field.name, None)  # a field that is newer than the kept file is not in it
        found: Any = Record.from_json(signed(plain))
        for step in part:
            found = found[step] if isinstance(step, int) else getattr(found, step)
        fresh = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        assert getattr(found, field.name) == fresh


def of_a_record(change: Callable[[dict[str, Any]], None]) -> str:
    plain = json.loads(next(path for path in RECORDS if path.stem == "finished").read_text())
    change(plain)
    try:
        Record.from_json(signed(plain))
    except AblateError as error:
        return str(error)
    return ""


def of_a_plan(change: Callable[[dict[str, Any]], None]) -> str:
    plain = json.loads(PLANS[0].read_text())
    change(plain)
    try:
        CampaignPlan.from_json(json.dumps(plain))
    except AblateError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("told", "place"),
    [
        (of_a_record(lambda r: r.update(later=1)), "Record"),
        (of_a_record(lambda r: r["curve"][0].update(later=1)), "EpochPoint"),
        (of_a_record(lambda r: r["measured"].update(later=1)), "Measured"),
        (of_a_plan(lambda p: p.update(later=1)), "CampaignPlan"),
        (of_a_plan(lambda p: p["study"].update(later=1)), "Study"),
        (of_a_plan(lambda p: p["study"]["recipe"].update(later=1)), "Study"),
        (of_a_plan(lambda p: p["data"].update(later=1)), "DataInfo"),
        (of_a_plan(lambda p: p["arms"][0].update(later=1)), "Arm"),
        (of_a_plan(lambda p: p["arms"][1]["spec"].update(later=1)), "NetSpec"),
        (of_a_plan(lambda p: p["arms"][1]["spec"]["stages"][0].update(later=1)), "StageSpec"),
        (of_a_plan(lambda p: p["arms"][1]["spec"]["stages"][0]["block"].update(later=1)), "BlockSpec"),
        (of_a_plan(lambda p: p["arms"][1]["match"].update(later=1)), "Match"),
    ],
)
def test_an_unknown_field_is_refused_with_the_format_and_the_field(told: str, place: str) -> None:
    assert re.fullmatch(
        rf"the (record|plan) of format 1 has the field '(recipe\.)?later' in {place}, "
        "unknown to this version of ablate: a newer version wrote it",
        told,
    )


@pytest.mark.parametrize("refused", [of_a_record, of_a_plan])
def test_a_higher_format_is_refused_with_both_numbers(refused: Callable[..., str]) -> None:
    assert "has format 7, but this version of ablate reads formats up to 1" in refused(lambda p: p.update(format=7))
    assert "must be a whole number from 1 to 1, got 'x'" in refused(lambda p: p.update(format="x"))


def test_a_record_whose_text_was_changed_is_refused_wherever_the_change_is() -> None:
    for path in RECORDS:
        text = path.read_text()
        for at in range(0, len(text.strip()), 7):
            changed = text[:at] + ("0" if text[at] != "0" else "1") + text[at + 1 :]
            with pytest.raises(AblateError, match="record"):
                Record.from_json(changed)


def test_a_record_that_another_tool_laid_out_anew_is_still_read() -> None:
    for path in RECORDS:
        text = json.dumps(json.loads(path.read_text()), indent=2)
        assert Record.from_json(text).same_result(Record.from_json(path.read_text()))
