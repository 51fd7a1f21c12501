"""Keeps what this version writes, for later versions to read: ``python tests/design/kept/keep.py FORMAT_FOLDER``.

The folder gets a copy of every shipped study file, the keys of their trials, a plan with tuning, and a record of each
kind. It is written once, by the version that the files are of, and never again.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from ablate.design.plan import CampaignPlan, make_plan, setting
from ablate.design.read import load_study
from ablate.design.record import EpochPoint, Measured, Record
from ablate.design.trial import Trial
from ablate.design.tuning import ArmTuning, own_values

STUDIES = Path(__file__).parents[3] / "studies"
BUDGETS = ("quick", "full")


def trials_of(plan: CampaignPlan) -> list[Trial]:
    """Of every arm the first two seeds and, in a study that tunes, the recipe as written."""
    chosen = [trial for arm in plan.arms for trial in plan.arm_trials(arm.name)[:2]]
    if plan.study.tuned:
        for arm in plan.arms:
            chosen += setting(plan.study, arm, plan.data, own_values(plan.study, arm)).trials
    return chosen


def keys_of(studies: Path) -> dict[str, dict[str, str]]:
    """Study and budget to its digest and the keys of its trials."""
    keys: dict[str, dict[str, str]] = {}
    for path in sorted(studies.glob("*.toml")):
        for budget in BUDGETS:
            plan = make_plan(load_study(path, budget=budget))
            keys[f"{path.stem} {budget}"] = {"study": plan.study.digest} | {
                f"{trial.arm} {trial.phase} {trial.seed}": trial.key for trial in trials_of(plan)
            }
    return keys


def plan_with_tuning() -> CampaignPlan:
    """A plan that has each of its parts: an arm at equal cost, changes, an A/A arm, settings tried."""
    overrides = {"match": "macs", "noise_floor": True, "plan.seeds": 2, "arms.classic.residual": "classic"}
    plan = make_plan(load_study(STUDIES / "linear_bottleneck_tuned.toml", overrides=overrides))
    settings = tuple(setting(plan.study, plan.control, plan.data, {"lr": rate}) for rate in (0.006, 0.012))
    return CampaignPlan(
        study=plan.study,
        data=plan.data,
        arms=plan.arms,
        trials=plan.trials,
        tuning=(ArmTuning(arm="control", settings=settings),),
    )


def records(plan: CampaignPlan) -> dict[str, Record]:
    """A record of each status and one of a tuning trial, every field written."""
    trial, other, third = plan.trials[:3]
    names = ("test_accuracy", "test_loss", "val_accuracy", "val_loss", "train_loss")
    point = EpochPoint(epoch=1, train_loss=0.5, train_accuracy=0.8, val_loss=0.4, val_accuracy=0.9, lr=0.003)
    measured = Measured(
        train_s=10.5, eval_s=1.25, wall_s=12.0, images_per_s=1200.0, peak_bytes=123_456_789, threads=2,
        settings=("flush_denormal",), hardware="a processor", commit="0" * 40, started_at=1.7e9, attempts=2,
        resumed=1, versions={"torch": "2.7.0"},
    )  # fmt: skip
    finished = Record.of(
        trial, "finished", metrics={name: 0.1 * at + 1 / 3 for at, name in enumerate(names)}, curve=(point,),
        predictions=bytes(range(10)), test_labels="0123456789abcdef", correct=b"\xaa\x80", chance=0.1,
        notes=("a note",), measured=measured,
    )  # fmt: skip
    diverged = Record.of(
        other, "diverged", metrics={"test_loss": float("nan")}, diverged_step=7, reason="loss is nan", measured=measured
    )
    failed = Record.of(third, "failed", reason='a line\n"quoted", {"sha256": "0"} and \u00e9')
    tuned = Record.of(plan.tuning_trials[0], "finished", metrics={"val_accuracy": 0.975}, curve=(point,))
    return {"finished": finished, "diverged": diverged, "failed": failed, "tuning": tuned}


def main(folder: Path) -> None:
    folder.mkdir(parents=True)
    shutil.copytree(STUDIES, folder / "studies", ignore=lambda _, names: [n for n in names if not n.endswith(".toml")])
    keys = keys_of(folder / "studies")
    (folder / "keys.json").write_text(json.dumps(keys, indent=1) + "\n")
    plan = plan_with_tuning()
    (folder / "plan.json").write_text(plan.to_json() + "\n")
    (folder / "records").mkdir()
    for name, record in records(plan).items():
        (folder / "records" / f"{name}.json").write_text(record.to_json() + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
