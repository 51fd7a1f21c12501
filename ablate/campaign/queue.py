"""The queue of trials that wait: Optuna's enqueue, ask and tell, worked off by one dispatcher.

What should exist is the plan's to say and what does exist is MLflow's; the queue can be rebuilt from the two.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ablate.campaign.queue_file import FULL, FileUse, open_file, opening
from ablate.campaign.result import CampaignStopped
from ablate.campaign.server import ServerLock, is_away, is_broken, is_full, sentence, server_arguments
from ablate.errors import AblateError
from ablate.paths import redact

if TYPE_CHECKING:
    import optuna

# Optuna looks through what waits at every ask, so little is let wait at a time.
WINDOW = 64
KEY = "key"
BACK_OFF_S = (0.5, 1.0, 2.0, 5.0, *[10.0] * 30)  # for a database server that went away: five minutes

T = TypeVar("T")
Say = Callable[[str], None]


class TrialQueue:
    """The trials of one campaign that are to be run, each handed out exactly once.

    Args:
        study: Optuna's study of the campaign.
        storage: where it lies.
        hold: what holds the campaign on a database server, or says that a file is used.
        say: told once when the server goes away, and once when it is back.

    Attributes:
        done: keys of the trials that some dispatcher once finished.
    """

    def __init__(
        self,
        study: optuna.Study,
        storage: optuna.storages.RDBStorage,
        hold: ServerLock | FileUse,
        say: Say = lambda _: None,
    ) -> None:
        import optuna

        self._study = study
        self._storage = storage
        self._hold = hold
        self._lock = hold if isinstance(hold, ServerLock) else None
        self._say = say
        self._place = storage.engine.url.database
        self._states = optuna.trial.TrialState
        self._running: dict[str, optuna.Trial] = {}
        self._wanted: set[str] = set()
        self._todo: deque[str] = deque()
        self._waiting: list[str] = []
        self._ahead: str | None = None
        self._given_up = self._lock is None
        self.done = self._take_stock()

    def close(self) -> None:
        """Lets go of the campaign."""
        if self._ahead is not None:
            with contextlib.suppress(AblateError):
                self.failed(self._ahead)
        self._hold.release()
        _leave(self._storage)

    def _take_stock(self) -> frozenset[str]:
        """What the database holds: what runs and is not ours has failed, what waits goes on waiting; what is done."""
        done, self._waiting = set(), []
        ours = {trial.number for trial in self._running.values()}
        for trial in self._study.get_trials(deepcopy=False):
            key = trial.user_attrs.get(KEY, "")
            if trial.state == self._states.RUNNING and trial.number not in ours:
                self._study.tell(trial.number, state=self._states.FAIL, skip_if_finished=True)
                if key in self._wanted:
                    self._todo.appendleft(key)
            elif trial.state == self._states.WAITING:
                self._waiting.append(key)
            elif trial.state in (self._states.COMPLETE, self._states.PRUNED):
                done.add(key)
        self._todo = deque(key for key in self._todo if key not in self._waiting)
        return frozenset(done)

    def _patiently(self, act: Callable[[], T]) -> T:
        """Calls it until the server answers, and only while the campaign is held there.

        A call that broke off may have been carried out, and whoever held the campaign meanwhile changed it, so stock is
        taken afresh.
        """
        told = False
        for wait_s in BACK_OFF_S:
            try:
                # other connections come back by themselves, and without the lock
                if self._lock is not None and not self._given_up and (told or not self._lock.is_held()):
                    self._lock.take()
                    self._take_stock()
                    if told:
                        self._say("The queue's database answers again.")
                        told = False
                return act()
            except Exception as error:
                if is_full(error):
                    raise CampaignStopped(FULL) from error
                if self._given_up and is_broken(error):
                    raise CampaignStopped(
                        f"{self._place}: the queue cannot be used any more ({sentence(error)}); run the same command "
                        f"to go on, nothing finished is lost"
                    ) from error
                if self._given_up or not is_away(error):
                    raise
                if not told:
                    self._say(f"The queue's database does not answer ({sentence(error)}); running trials go on.")
                told = True
                time.sleep(wait_s)
        self._given_up = True
        raise CampaignStopped("the queue's database has not answered for five minutes; what is finished is kept")

    def add(self, keys: Iterable[str]) -> None:
        """Trials to run, behind those that were added before."""
        new = [key for key in dict.fromkeys(keys) if key not in self._wanted]
        self._wanted.update(new)
        self._todo.extend(key for key in new if key not in self._waiting)

    def next(self) -> str | None:
        """The key of the next trial to run, or None when every one that was added has been handed out."""
        key, self._ahead = self._ahead, None
        return key or self._patiently(self._next)

    def look_ahead(self) -> None:
        """Makes the next trial ready, so that ``next`` need not keep a worker waiting for the database."""
        self._ahead = self._ahead or self._patiently(self._next)

    def _next(self) -> str | None:
        while self._waiting or self._todo:
            if not self._waiting:
                for _ in range(min(WINDOW, len(self._todo))):
                    self._study.enqueue_trial({}, user_attrs={KEY: self._todo[0]})
                    self._waiting.append(self._todo.popleft())
            trial = self._study.ask()
            key = str(trial.user_attrs.get(KEY, ""))
            self._waiting.remove(key)
            if key in self._wanted and key not in self._running:
                self._wanted.remove(key)
                self._running[key] = trial
                return key
            self._study.tell(trial, state=self._states.FAIL)  # it waited for what is no longer to be run
        return None

    def finished(self, key: str, value: float | None) -> None:
        """A trial has its outcome; ``value`` is None or not finite where it has no number."""
        if value is None or not math.isfinite(value):
            self._tell(key, None, self._states.PRUNED)
        else:
            self._tell(key, value, self._states.COMPLETE)

    def learn(self, key: str, value: float | None) -> None:
        """Enters a trial that was finished without this queue's knowledge."""
        import optuna

        known = value is not None and math.isfinite(value)
        state = self._states.COMPLETE if known else self._states.PRUNED
        trial = optuna.trial.create_trial(state=state, value=value if known else None, user_attrs={KEY: key})
        self._patiently(lambda: self._study.add_trial(trial))

    def failed(self, key: str) -> None:
        """A trial has none; a later call enqueues it again."""
        self._tell(key, None, self._states.FAIL)

    def _tell(self, key: str, value: float | None, state: optuna.trial.TrialState) -> None:
        trial = self._running[key]
        self._patiently(lambda: self._study.tell(trial, value, state=state, skip_if_finished=True))
        del self._running[key]


def open_queue(
    path: Path | str, name: str, *, maximize: bool = True, say: Say = lambda _: None
) -> tuple[TrialQueue, str]:
    """The queue of campaign ``name`` in the sqlite file ``path``, and a sentence about what was wrong with the file.

    A file that is damaged, or of another version of Optuna, is set aside and the queue rebuilt; the sentence is empty
    where nothing was wrong. ``path`` may be the URL of a PostgreSQL database instead (postgresql+psycopg://...), which
    is told apart from a damaged one: it is never touched but by Optuna.

    Raises:
        AblateError: the file or database cannot be opened or written, or another dispatcher holds the campaign there.
    """
    if isinstance(path, str):
        return _open_server(path, name, maximize, say), ""
    return open_file(path, lambda new: _leave(_storage(new)), lambda use: _open(path, name, maximize, use))


def queue_states(path: Path | str, name: str) -> list[tuple[str, str]]:
    """Key and state (WAITING, RUNNING, COMPLETE, PRUNED or FAIL) of all that a campaign's queue holds.

    Raises:
        AblateError: the file or database cannot be read.
    """
    if isinstance(path, str):
        return _states(path, name)
    with opening(path):  # to look at a file that is just being set aside would make another one
        return _states(path, name) if path.exists() else []


def _states(path: Path | str, name: str) -> list[tuple[str, str]]:
    import optuna

    try:
        storage = _storage(path)
        studies = {study.study_name for study in optuna.get_all_study_summaries(storage, include_best_trial=False)}
        if name not in studies:
            return []
        trials = optuna.load_study(study_name=name, storage=storage).get_trials(deepcopy=False)
        _leave(storage)
    except Exception as error:
        raise AblateError(f"{redact(path)}: the queue cannot be read: {sentence(error)}") from error
    return [(str(trial.user_attrs.get(KEY, "")), trial.state.name) for trial in trials]


def _storage(path: Path | str) -> optuna.storages.RDBStorage:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if isinstance(path, str):
        return optuna.storages.RDBStorage(path, engine_kwargs=server_arguments(path))
    waits = {"connect_args": {"timeout": 60}}
    storage = optuna.storages.RDBStorage(f"sqlite:///{path.resolve()}", engine_kwargs=waits)
    with storage.engine.connect() as connection:
        # a page that nothing reads yet would break the campaign when it is in full swing
        found = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
    if found != "ok":
        _leave(storage)
        raise ValueError(found)
    return storage


def _leave(storage: optuna.storages.RDBStorage) -> None:
    """Closes its connections."""
    storage.remove_session()
    storage.engine.dispose()


def _study(storage: optuna.storages.RDBStorage, name: str, maximize: bool) -> optuna.Study:
    import optuna

    return optuna.create_study(
        storage=storage,
        study_name=name,
        direction="maximize" if maximize else "minimize",
        sampler=optuna.samplers.RandomSampler(seed=0),
        pruner=optuna.pruners.NopPruner(),
        load_if_exists=True,
    )


def _open(path: Path, name: str, maximize: bool, use: FileUse) -> TrialQueue:
    storage = _storage(path)
    try:
        return TrialQueue(_study(storage, name, maximize), storage, use)
    except BaseException:
        _leave(storage)
        raise


def _open_server(url: str, name: str, maximize: bool, say: Say) -> TrialQueue:
    try:
        storage = _storage(url)
        try:
            lock = ServerLock(storage.engine, name)
            return TrialQueue(_study(storage, name, maximize), storage, lock, say)
        except BaseException:
            _leave(storage)
            raise
    except AblateError:
        raise
    except Exception as error:
        raise AblateError(f"{redact(url)}: the queue's database cannot be used: {sentence(error)}") from error
