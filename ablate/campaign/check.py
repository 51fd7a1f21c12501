"""Whether a campaign at rest is whole: the plan against the records, the records against the views."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from ablate.campaign.mlflow_view import MlflowView
from ablate.campaign.options import RunOptions
from ablate.campaign.optuna_view import OptunaView
from ablate.campaign.prepare import known_costs
from ablate.campaign.records import DAMAGED, RecordStore, seal, writable
from ablate.campaign.schedule import unfold
from ablate.campaign.views import Conclusion, Item, Pusher, View
from ablate.design.plan import CampaignPlan, Trial
from ablate.design.record import Record
from ablate.errors import AblateError, one_of

RUN, REPAIR = "run the study", "--repair"
MOST_NAMED = 5  # trials in one sentence


@dataclass(frozen=True)
class Fault:
    """Something that is not as it should be.

    Attributes:
        where: ``records``, ``MLflow`` or ``Optuna``.
        message: a sentence.
        remedy: ``--repair``, ``run the study``, or what else helps.
    """

    where: str
    message: str
    remedy: str


@dataclass(frozen=True, kw_only=True)
class Check:
    """What a check found.

    Attributes:
        trials: how many are needed; under ``until = "settled"``, as far as the records tell.
        records: how many of them have a sound record.
        faults: what is wrong; after a repair, what is still wrong.
        repaired: what was done.
    """

    trials: int
    records: int
    faults: tuple[Fault, ...] = ()
    repaired: tuple[str, ...] = ()

    @property
    def never_run(self) -> bool:
        """Whether nothing was ever trained here."""
        return not self.records and all(fault.where == "records" and fault.remedy == RUN for fault in self.faults)

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults


def check_campaign(plan: CampaignPlan, options: RunOptions) -> Check:
    """Compares plan, records and views. Changes nothing, and works where nothing can be written.

    Raises:
        AblateError: the runs folder cannot be read.
    """
    return _Checked(plan, options).check()


def repair_campaign(plan: CampaignPlan, options: RunOptions, say: Callable[[str], None]) -> Check:
    """Pulls records that only MLflow has, sets damaged ones aside, pushes to both views, and checks again.

    Raises:
        AblateError: the runs folder cannot be written, or a dispatcher is at work.
    """
    store = RecordStore(options.runs, plan.study.name)
    with writable(options.runs), store.locked():
        done = _repair(plan, options, store, say)
    return replace(check_campaign(plan, options), repaired=tuple(done))


def forget(plan: CampaignPlan, options: RunOptions, which: Iterable[str]) -> list[Trial]:
    """Sets records aside on purpose, so that their trials are trained again.

    Args:
        plan: of the campaign.
        options: where its records are.
        which: ``ARM`` or ``ARM:SEED`` each.

    Raises:
        AblateError: there is no such arm or seed, or a dispatcher is at work.
    """
    store = RecordStore(options.runs, plan.study.name)
    chosen = [trial for text in which for trial in _chosen(plan, text)]
    with writable(options.runs), store.locked():
        return [trial for trial in dict.fromkeys(chosen) if store.forget(trial.key)]


def _chosen(plan: CampaignPlan, text: str) -> list[Trial]:
    arm, colon, seed = text.rpartition(":") if ":" in text else (text, "", "")
    names = [one.name for one in plan.arms]
    if arm not in names:
        raise AblateError(f"--forget {one_of(arm, names)}")
    trials = [trial for trial in (*plan.trials, *plan.exploring_trials, *plan.level_trials) if trial.arm == arm]
    if not colon:
        return trials
    found = [trial for trial in trials if str(trial.seed) == seed]
    if not found:
        seeds = ", ".join(str(trial.seed) for trial in plan.arm_trials(arm))
        raise AblateError(f"--forget {text}: the seed must be one of {seeds}; got {seed!r}")
    return found


class _Checked:
    """One check."""

    def __init__(self, plan: CampaignPlan, options: RunOptions) -> None:
        self.options = options
        self.store = RecordStore(options.runs, plan.study.name)
        self._here = self.store.keys()
        self.damaged: dict[str, str] = {}
        schedule, self.records = unfold(plan, self._read)
        self.plan, self.trials = schedule.plan, {trial.key: trial for trial in schedule.trials}

    def _read(self, keys: list[str]) -> dict[str, Record]:
        found: dict[str, Record] = {}
        for key in keys:
            if key in self._here:
                try:
                    record = self.store.read(key)
                except AblateError as error:
                    self.damaged[key] = str(error)
                    continue
                if record is not None:
                    found[key] = record
        return found

    def check(self) -> Check:
        sound = [key for key, record in self.records.items() if record.status != "failed"]
        return Check(
            trials=len(self.trials),
            records=len(sound),
            faults=(*self._record_faults(), *(self._view_faults() if self.records else ())),
        )

    def _record_faults(self) -> Iterable[Fault]:
        for message in self.damaged.values():
            yield Fault("records", message, REPAIR)
        failed = [key for key in self.trials if key in self.records and self.records[key].status == "failed"]
        if failed:
            yield Fault("records", f"{self._named(failed)} failed", RUN)
        missing = [key for key in self.trials if key not in self.records and key not in self.damaged]
        if missing:
            yield Fault("records", f"{self._named(missing)} ha{'s' if len(missing) == 1 else 've'} no record", RUN)
        lacking = [key for key in self.records if self.plan.study.keep_weights and not self._has_weights(key)]
        if lacking:
            yield Fault("records", f"{self._named(lacking)} kept no weights", "--forget ARM:SEED, then run the study")

    def _has_weights(self, key: str) -> bool:
        kept = self.trials[key].phase == "confirm" and self.records[key].status == "finished"
        return not kept or self.store.weights(key).is_file()

    def _view_faults(self) -> Iterable[Fault]:
        for name, view in _views(self.options).items():
            if not view.exists:
                yield Fault(name, f"{view.name} does not exist yet", REPAIR)
                continue
            try:
                held = view.held(self.plan)
            except AblateError as error:
                yield Fault(name, str(error), REPAIR)
                continue
            finally:
                view.close()
            lacking = [key for key, item in self.items().items() if held.get(key, None) not in (item.digest, "")]
            if lacking:
                yield Fault(name, f"{view.name} lacks {self._named(lacking)}", REPAIR)

    def items(self) -> dict[str, Item]:
        """The sound records as views take them."""
        return {key: Item.of(self.store, self.trials[key], record) for key, record in self.records.items()}

    def _named(self, keys: list[str]) -> str:
        """``control, seed 0; relu, seed 0 and 14 more``."""
        names = [self.trials[key].title for key in keys[:MOST_NAMED]]
        more = len(keys) - MOST_NAMED
        return "; ".join(names) + (f" and {more} more" if more > 0 else "")


def _views(options: RunOptions, sealed: str = "") -> dict[str, MlflowView | OptunaView]:
    return {
        "MLflow": MlflowView(options.mlflow_uri, options.runs, sealed),
        "Optuna": OptunaView(options.runs, options.optuna_storage),
    }


def _repair(plan: CampaignPlan, options: RunOptions, store: RecordStore, say: Callable[[str], None]) -> list[str]:
    done = []
    checked = _Checked(plan, options)
    for key, message in checked.damaged.items():
        store.take(key)
        done.append(f"{message}; set aside as {store.path(key).name}{DAMAGED}")
    views = _views(options, seal(plan, options.runs).to_json())
    missing = [key for key in checked.trials if key not in checked.records]
    mlflow = views["MLflow"]
    assert isinstance(mlflow, MlflowView)
    try:
        pulled = mlflow.pull(plan.study.name, missing) if missing else {}
    except AblateError as error:
        say(str(error))
        pulled = {}
    for key, text in pulled.items():
        if store.accept(key, text) is not None:
            trial = checked.trials[key]
            done.append(f"{trial.arm}, seed {trial.seed}: its record was taken from {mlflow.name}")
    checked = _Checked(plan, options)
    for name, view in views.items():
        done += _push(name, view, checked, say)
    return done


def _push(name: str, view: View, checked: _Checked, say: Callable[[str], None]) -> list[str]:
    options, plan, items = checked.options, checked.plan, checked.items()
    costs, _ = known_costs(plan, options.cache / "costs", checked.records)
    pusher = Pusher(view, plan, options.cache / "views" / f"{plan.study.name}.{plan.study.digest}.{name}.json", say)
    pusher.update(plan, costs)
    for item in items.values():
        pusher.put(item)
    complete = all(key in checked.records for key in checked.trials)
    left = pusher.finish(Conclusion(complete=complete), deadline_s=None)
    if left:
        return []
    return [f"{view.name} holds {len(items)} records"]
