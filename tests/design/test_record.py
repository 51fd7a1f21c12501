"""A record on its way through JSON."""

from __future__ import annotations

import dataclasses
import hashlib
import json

from ablate.design.record import Measured, Record

RECORD = Record(
    key="0123456789abcdef",
    study="x",
    arm="control",
    seed=0,
    status="finished",
    measured=Measured(threads=2, settings=("flush_denormal", "keep_memory")),
)


def test_a_record_comes_back_from_its_json_equal_to_the_last_field() -> None:
    assert Record.from_json(RECORD.to_json()) == RECORD


def test_a_record_from_before_settings_were_noted_is_still_read() -> None:
    plain = json.loads(RECORD.to_json())
    del plain["sha256"], plain["measured"]["settings"]
    plain["sha256"] = hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
    older = dataclasses.replace(RECORD, measured=dataclasses.replace(RECORD.measured, settings=()))
    assert Record.from_json(json.dumps(plain)) == older
