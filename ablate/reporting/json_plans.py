"""The list of studies, a plan and a check as JSON for programs. Numbers are not rounded.

docs/json.md carries the fields and the schema; `json_reference.py` makes that part of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from ablate.reporting.json_parts import NEXT, UNIT, VERSION, Part

if TYPE_CHECKING:
    from ablate.campaign.check import Check
    from ablate.design.plan import Arm, CampaignPlan
    from ablate.reporting.listing import Listing, Row
    from ablate.reporting.results import Costs
    from ablate.verdicts.verdict import Contrast


class ListedJson(Part):
    """A study in one of its budgets."""

    study: str = Field(description="its name")
    budget: str = Field(description="quick, or a [budget.NAME] of the file")
    question: str = Field(description="what it is to answer")
    file: str = Field(description="the study file")
    arms: int | None = Field(description="control and noise floor included; null: the data are not known here")
    trials: int | None = Field(description="tuning and search included; null: likewise")
    done: int = Field(description="trials that have a record")
    minutes: float | None = Field(description="an estimate for all trials, ``jobs`` at a time; null: likewise")
    next: list[str] = Field(description="the command that shows its plan, then the one that runs it")

    @classmethod
    def of(cls, row: Row) -> ListedJson:
        """The row under the names of the schema."""
        return cls.like(
            row.study,
            study=row.study.name,
            file=str(row.path),
            done=row.done,
            next=[f"{row.command} --plan", row.command],
            **{name: getattr(row.expected, name, None) for name in ("arms", "trials", "minutes")},
        )


class ListJson(Part):
    """`ablate study --list --json`: every study that a name reaches; with a folder, every one in it."""

    schema_version: Literal[1] = Field(default=1, alias="schema", description=VERSION)
    document: Literal["list"] = Field(default="list", description="which document this is")
    jobs: int = Field(description="trials at a time that the estimates are for")
    studies: list[ListedJson] = Field(description="one a study and budget")
    problems: list[str] = Field(description="what is wrong with a study file, one text a file")
    asked: str = Field(description="what all campaigns of the runs folder asked and found; empty where there is none")

    @classmethod
    def of(cls, listing: Listing) -> ListJson:
        """The listing under the names of the schema."""
        return cls.like(listing, studies=[ListedJson.of(row) for row in listing.rows])


class ChangeJson(Part):
    """A field in which an arm differs from the control."""

    field: str = Field(description="bottleneck, recipe.lr, stages[2].conv")
    before: Any = Field(description="the control's value")
    after: Any = Field(description="the arm's")


class PlannedArmJson(Part):
    """An arm with what it costs, as far as that is known; null where a search is still to find it."""

    arm: str = Field(description="its name")
    found: bool = Field(description="false: a search is still to find it")
    changes: list[ChangeJson] = Field(description="against the control")
    seeds: int = Field(description="most seeds")
    params: int | None = Field(description="learnt numbers")
    macs: int | None = Field(description="multiply-adds, one image")
    macs_ratio: float | None = Field(description="over the control's")
    train_peak_bytes: int | None = Field(description="of a training step; null also where a part is frozen")


class DataJson(Part):
    """The images."""

    name: str = Field(description="of the data set")
    train: int = Field(description="training images, those held back for validation included")
    test: int = Field(description="test images")
    channels: int = Field(description="of an image")
    height: int = Field(description="in pixels")
    width: int = Field(description="in pixels")
    classes: int = Field(description="how many there are")


class PowerJson(Part):
    """What the planned seeds can find. Differences in the metric's own unit."""

    seeds: int = Field(description="at the last look")
    num_contrasts: int = Field(description="size of the family")
    sd: float = Field(description="standard deviation of the differences that is assumed")
    detectable: float | None = Field(description="smallest difference that is found with 80 % power; null: none")
    equivalence_power: float = Field(description="chance that an arm without a difference is shown equivalent")
    seeds_to_settle: int | None = Field(description="that would settle a difference of the margin; null: over 10,000")
    can_decide: bool = Field(description="false: too few seeds for the exact test to reach its level at all")


class PlanJson(Part):
    """`ablate study NAME --plan --json`: what would run, what it costs and what it can detect."""

    schema_version: Literal[1] = Field(default=1, alias="schema", description=VERSION)
    document: Literal["plan"] = Field(default="plan", description="which document this is")
    study: str = Field(description="its name")
    budget: str = Field(description="which budget of the file")
    campaign: str = Field(description="digest of everything that the study says")
    question: str = Field(description="what it is to answer")
    metric: str = Field(description="the one that verdicts rest on")
    unit: str | None = Field(description=UNIT)
    margin: float = Field(description="smallest difference that matters, in the metric's unit")
    alpha: float = Field(description="error rate over all contrasts")
    data: DataJson = Field(description="what is trained on")
    arms: list[PlannedArmJson] = Field(description="the control first")
    trials: int = Field(description="tuning and search included; under until = settled the most")
    exploring: int = Field(description="trials of these that tune or search")
    done: int = Field(description="trials that have a record")
    to_train: int = Field(description="trials that have none")
    jobs: int = Field(description="trials at a time that the estimate is for")
    minutes: float | None = Field(description="an estimate for what is to be trained; null: of an imported net")
    measured_arms: int = Field(description="arms whose speed was measured; that of the others is estimated from FLOPs")
    disk_bytes: int = Field(description="an estimate of what all trials take")
    power: PowerJson = Field(description="what the seeds can tell")
    warnings: list[str] = Field(description="what a reader must know before it runs")
    next: list[str] = Field(description=NEXT)

    @classmethod
    def of(
        cls,
        plan: CampaignPlan,
        costs: Costs,
        *,
        seen: Sequence[Contrast] = (),
        jobs: int,
        done: int,
        images_per_s: Mapping[str, float],
        command: str,
    ) -> PlanJson:
        """The plan under the names of the schema.

        Args:
            plan: of the campaign.
            costs: arm -> cost field -> number, as far as they are known.
            seen: the contrasts of the records so far.
            jobs: trials at a time.
            done: how many of its trials have a record.
            images_per_s: measured training images a second, by arm.
            command: that runs the study.
        """
        from ablate.campaign.resources import disk_bytes
        from ablate.design.forecast import forecast
        from ablate.reporting.preview import small_maps
        from ablate.verdicts.power_analysis import analyse_power, out_of_reach

        study, data, power = plan.study, plan.data, analyse_power(plan, seen)
        expected = forecast(plan, jobs=jobs, images_per_s=images_per_s)
        left = max(0, expected.trials - done)
        reach = out_of_reach(plan)
        return cls(
            study=study.name,
            budget=study.budget,
            campaign=study.digest,
            question=study.question,
            metric=study.decision.metric,
            unit=study.decision.unit or None,
            margin=study.decision.margin,
            alpha=study.decision.alpha,
            data=DataJson.like(data, train=data.num_train, test=data.num_test, classes=data.num_classes),
            arms=_arms(plan, costs),
            trials=expected.trials,
            exploring=expected.tuning,
            done=done,
            to_train=left,
            jobs=jobs,
            minutes=None if expected.minutes is None else expected.minutes * left / expected.trials,
            measured_arms=expected.measured,
            disk_bytes=round(disk_bytes(plan, expected.trials, jobs)),
            power=PowerJson.like(power, can_decide=not reach),
            warnings=[said for said in (reach, small_maps(plan)) if said],
            next=[command] if left else [f"python -m ablate.report {study.name}"],
        )


def _arms(plan: CampaignPlan, costs: Costs) -> list[PlannedArmJson]:
    from ablate.design.search import confirmed_names

    base = costs.get(plan.control.name, {}).get("macs")
    to_find = [
        PlannedArmJson(
            arm=name,
            found=False,
            changes=[],
            seeds=plan.study.plan.most_seeds,
            params=None,
            macs=None,
            macs_ratio=None,
            train_peak_bytes=None,
        )
        for name in confirmed_names(plan.study)[: plan.to_find]
    ]
    return [*(_planned(plan, arm, costs.get(arm.name, {}), base) for arm in plan.arms), *to_find]


def _planned(
    plan: CampaignPlan, arm: Arm, cost: Mapping[str, float | int | None], base: float | None
) -> PlannedArmJson:
    params, macs, peak = (cost.get(name) for name in ("params", "macs", "train_peak_bytes"))
    return PlannedArmJson(
        arm=arm.name,
        found=True,
        changes=[ChangeJson.like(one) for one in arm.changes],
        seeds=len(plan.arm_trials(arm.name)),
        params=None if params is None else int(params),
        macs=None if macs is None else int(macs),
        macs_ratio=macs / base if macs and base else None,
        train_peak_bytes=None if peak is None or arm.recipe.freeze else int(peak),
    )


class FaultJson(Part):
    """Something that is not as it should be."""

    where: str = Field(description="records, MLflow or Optuna")
    message: str = Field(description="a sentence")
    remedy: str = Field(description="what helps")


class CheckJson(Part):
    """`ablate study NAME --check --json`, or with `--repair`: the plan, its records and the views compared."""

    schema_version: Literal[1] = Field(default=1, alias="schema", description=VERSION)
    document: Literal["check"] = Field(default="check", description="which document this is")
    study: str = Field(description="its name")
    campaign: str = Field(description="digest of everything that the study says")
    trials: int = Field(description="how many are needed, as far as the records tell")
    records: int = Field(description="how many of them have a sound record")
    never_run: bool = Field(description="whether nothing was ever trained here")
    sound: bool = Field(description="whether nothing is wrong")
    faults: list[FaultJson] = Field(description="what is wrong; after a repair, what is still wrong")
    repaired: list[str] = Field(description="what a repair did")
    next: list[str] = Field(description=NEXT)

    @classmethod
    def of(cls, check: Check, plan: CampaignPlan, *, command: str) -> CheckJson:
        """The check under the names of the schema; ``command`` runs the study."""
        return cls.like(
            check,
            study=plan.study.name,
            campaign=plan.study.digest,
            faults=[FaultJson.like(one) for one in check.faults],
            next=_remedies(check, command),
        )


def _remedies(check: Check, command: str) -> list[str]:
    from ablate.campaign.check import REPAIR, RUN

    wanted = {fault.remedy for fault in check.faults}
    commands: Sequence[tuple[str, str]] = ((REPAIR, f"{command} {REPAIR}"), (RUN, command))
    return [line for remedy, line in commands if remedy in wanted]
