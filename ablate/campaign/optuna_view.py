"""The view for optuna-dashboard: every trial of a campaign with its parameters, value, learning curve and costs."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablate.campaign.options import ArmCosts
from ablate.campaign.optuna_driver import (
    Space,
    curve_of,
    dated,
    direction,
    frozen_trial,
    space,
    user_attributes,
)
from ablate.campaign.optuna_search import search_directions, search_trial
from ablate.campaign.views import Conclusion, Item, ViewError, damage_of, file_state, set_aside
from ablate.design.plan import CampaignPlan
from ablate.design.tuning import is_whole, tuned_by
from ablate.files import make_whole
from ablate.paths import redact

if TYPE_CHECKING:
    import optuna

DIGEST = "record"  # user attribute: sha256 of the record's file
STARTED = "started_at"  # user attribute: when the trial started, seconds since 1970


class OptunaView:
    """Optuna studies of one storage: one for each campaign's design, one for its tuning or its search.

    Args:
        runs: the runs folder.
        url: of an RDB storage; None: ``optuna.db`` in the runs folder.
    """

    def __init__(self, runs: Path, url: str | None = None) -> None:
        self._file = None if url else runs / "optuna.db"
        self._url = url or "sqlite:///optuna.db"
        self._storage: optuna.storages.RDBStorage | None = None
        self._opened: list[Any] = []
        self._found: list[optuna.Study] = []
        self._space: tuple[CampaignPlan, Space] | None = None
        self._held: dict[str, optuna.trial.FrozenTrial] = {}

    @property
    def name(self) -> str:
        """See ``View.name``."""
        return f"Optuna's storage {redact(self._url)}"

    @property
    def exists(self) -> bool:
        """False for the runs folder's own file where it is not there yet."""
        return self._file is None or self._file.exists()

    def load(self) -> None:
        """See ``View.load``."""
        from optuna.storages import RDBStorage  # noqa: F401 - loaded on access

    def state(self) -> list[Any] | None:
        """See ``View.state``."""
        return None if self._file is None else file_state(self._file)

    @property
    def storage(self) -> optuna.storages.RDBStorage:
        """The storage itself.

        Raises:
            ViewError: it cannot be used.
        """
        with self._answers():
            self._connect()
        assert self._storage is not None
        return self._storage

    def held(self, plan: CampaignPlan) -> dict[str, str]:
        """Digest by key of the records of the campaign that the storage holds. Changes nothing.

        Raises:
            ViewError: the storage does not answer, or its file is damaged.
        """
        if self._file is not None and (damage := damage_of(self._file)):
            raise ViewError(f"{self.name} {damage}")
        with self._answers():
            import optuna

            self._connect()
            assert self._storage is not None
            there = optuna.get_all_study_names(self._storage)
            names = [name for name in self._names(plan) if name in there]
            studies = [optuna.load_study(study_name=name, storage=self._storage) for name in names]
            return {key: trial.user_attrs.get(DIGEST, "") for key, trial in _by_key(_trials(studies)).items()}

    def known(self, plan: CampaignPlan, costs: ArmCosts) -> dict[str, str]:  # noqa: ARG002 - of the protocol
        """See ``View.known``; where a record is there twice, its study is made again."""
        with self._answers():
            there = _trials(self._studies(plan))
            if len(there) > len(_by_key(there)):
                self._delete(plan)
                there = []
            self._held = _by_key(there)
            return {key: trial.user_attrs.get(DIGEST, "") for key, trial in self._held.items()}

    def push(self, plan: CampaignPlan, item: Item, costs: ArmCosts) -> str:
        """See ``View.push``. Optuna deletes no trial, so where one has to go its study is made again."""
        held = self._held.get(item.record.key)
        if held is not None:
            if held.user_attrs.get(STARTED, 0) > item.record.measured.started_at and held.state.name != "FAIL":
                return str(held.user_attrs.get(DIGEST, ""))
            self._delete(plan)
            raise ViewError(f"{self.name}: {item.trial.arm}, seed {item.trial.seed} has another record now.")
        with self._answers():
            design, *other = self._studies(plan)
            cost = {} if plan.at(item.trial) else costs.get(item.trial.arm, {})
            if self._space is None or self._space[0] is not plan:
                self._space = plan, space(plan)
            if item.trial.phase == "tuning":
                frozen, study = _tuning_trial(plan, item, cost), other[0]
            elif item.trial.phase != "confirm":
                frozen, study = _search_trial(plan, item, cost), other[0]
            else:
                frozen, study = frozen_trial(plan, item.trial, item.record, self._space[1], cost), design
            frozen.user_attrs[DIGEST] = item.digest
            study.add_trial(frozen)
            self._held[item.record.key] = frozen
        return item.digest

    def _delete(self, plan: CampaignPlan) -> None:
        with self._answers():
            import optuna

            assert self._storage is not None
            for study in self._studies(plan):
                optuna.delete_study(study_name=study.study_name, storage=self._storage)
            self._found = []

    def finish(self, plan: CampaignPlan, items: Sequence[Item], conclusion: Conclusion, costs: ArmCosts) -> None:  # noqa: ARG002
        """See ``View.finish``: the question and whether it is answered, as attributes of the study."""
        with self._answers():
            for study in self._studies(plan):
                study.set_user_attr("question", plan.study.question)
                study.set_user_attr("complete", conclusion.complete)

    def _studies(self, plan: CampaignPlan) -> list[optuna.Study]:
        """The campaign's study of its design, and that of its tuning or search where it has one."""
        self._connect()
        import optuna

        assert self._storage is not None
        names = self._names(plan)
        if [study.study_name for study in self._found] == names:
            return self._found
        found = []
        for number, name in enumerate(names):
            trades = number > 0 and len(search_directions(plan.study)) > 1
            directions = [one.upper() for one in (direction(plan), *["minimize"] * trades)]
            found.append(
                optuna.create_study(
                    storage=self._storage,
                    study_name=name,
                    directions=[optuna.study.StudyDirection[one] for one in directions],
                    load_if_exists=True,
                )
            )
            found[-1].set_metric_names([_metric(plan, tuning=number > 0), *[plan.study.search.cost] * trades])
        self._found = found
        return found

    def _names(self, plan: CampaignPlan) -> list[str]:
        name = f"{plan.study.name} {plan.study.budget} {plan.study.digest}"
        return [name, *[f"{name} tuning"] * plan.study.tuned, *[f"{name} search"] * plan.study.searched]

    def _connect(self) -> None:
        import optuna

        if self._storage is not None and (self._file is None or self._opened == _identity(self._file)):
            return
        self.close()
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        if self._file is not None:
            if damage_of(self._file):
                set_aside(self._file)
            if not self._file.exists():
                make_whole(self._file, lambda new: _leave(self._opened_at(new)))
            self._opened = _identity(self._file)
            self._storage = self._opened_at(self._file)
        else:
            self._storage = optuna.storages.RDBStorage(self._url, engine_kwargs={"pool_pre_ping": True})

    def _opened_at(self, file: Path) -> optuna.storages.RDBStorage:
        """A storage in a file whose path may hold characters that mean something in an address."""
        import sqlite3

        import optuna

        # optuna-dashboard serves each page from another thread; the pool gives a connection to one at a time
        creator = partial(sqlite3.connect, str(file), timeout=60, check_same_thread=False)
        return optuna.storages.RDBStorage(self._url, engine_kwargs={"creator": creator})

    def close(self) -> None:
        """See ``View.close``."""
        if self._storage is not None:
            with contextlib.suppress(Exception):
                _leave(self._storage)
        self._storage = None
        self._found = []

    def _answers(self) -> contextlib.AbstractContextManager[None]:
        return _answers(self)


@contextlib.contextmanager
def _answers(view: OptunaView) -> Any:
    """Turns whatever Optuna or the database raises into a ViewError of one sentence, and connects anew afterwards."""
    import warnings

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except Exception as error:
        view.close()
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ViewError(redact(f"{view.name} cannot be used: {lines[0]}")[:400]) from error


def _by_key(trials: Sequence[optuna.trial.FrozenTrial]) -> dict[str, optuna.trial.FrozenTrial]:
    return {trial.user_attrs["key"]: trial for trial in trials}


def _trials(studies: Sequence[optuna.Study]) -> list[optuna.trial.FrozenTrial]:
    trials = [trial for study in studies for trial in study.get_trials(deepcopy=False)]
    return [trial for trial in trials if "key" in trial.user_attrs]


def _identity(file: Path) -> list[int]:
    found = file.stat()
    return [found.st_dev, found.st_ino]


def _leave(storage: optuna.storages.RDBStorage) -> None:
    storage.remove_session()
    storage.engine.dispose()


def _metric(plan: CampaignPlan, *, tuning: bool) -> str:
    metric = plan.study.decision.metric
    return tuned_by(metric) if tuning else metric


def _search_trial(plan: CampaignPlan, item: Item, cost: Mapping[str, Any]) -> optuna.trial.FrozenTrial:
    """A trial of a search: its point is the candidate's values, and the seed where there are several."""
    candidate, rung = next(
        (one, rung) for one in plan.search for rung in one.rungs if item.record.key in {t.key for t in rung.trials}
    )
    frozen = search_trial(plan, item.record, candidate, rung)
    for name, value in user_attributes(item.trial, item.record, cost).items():
        frozen.user_attrs[name] = value
    return dated(frozen, item.record)


def _tuning_trial(plan: CampaignPlan, item: Item, cost: Mapping[str, Any]) -> optuna.trial.FrozenTrial:
    """A trial that tunes: its point is the arm, the values of its setting, and the seed."""
    import optuna
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    values = {trial.key: setting.values for arm in plan.tuning for setting in arm.settings for trial in setting.trials}[
        item.trial.key
    ]
    tuning = plan.study.tuning
    distributions: dict[str, optuna.distributions.BaseDistribution] = {
        "arm": CategoricalDistribution([arm.name for arm in plan.arms]),
        "seed": IntDistribution(0, max(1, tuning.seeds)),
    }
    point: dict[str, Any] = {"arm": item.trial.arm, "seed": 0}
    blocks = {t.key: arm.block for arm in plan.tuning for s in arm.settings for t in s.trials}
    if tuning.blocks > 1:
        distributions["block"] = IntDistribution(0, tuning.blocks - 1)
        point["block"] = blocks[item.trial.key]
    keys = {t.key: i for arm in plan.tuning for s in arm.settings for i, t in enumerate(s.trials)}
    point["seed"] = keys[item.trial.key]
    for name, value in values.items():
        span = tuning.space[name]
        point[name] = int(value) if is_whole(plan.study, name) else value
        distributions[name] = (
            IntDistribution(int(span.low), int(span.high))
            if is_whole(plan.study, name)
            else FloatDistribution(span.low, span.high, log=span.log)
        )
    score = item.record.metrics.get(_metric(plan, tuning=True))
    states = optuna.trial.TrialState
    finished = item.record.status == "finished" and score is not None
    frozen = optuna.trial.create_trial(
        state=states.COMPLETE if finished else states.FAIL if item.record.status == "failed" else states.PRUNED,
        value=score if finished else None,
        params=point,
        distributions=distributions,
        user_attrs=user_attributes(item.trial, item.record, cost),
        intermediate_values=curve_of(plan, item.record),
    )
    return dated(frozen, item.record)
