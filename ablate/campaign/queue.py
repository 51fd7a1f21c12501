"""The queue of trials that wait: Optuna's enqueue, ask and tell, worked off by one dispatcher.

What should exist is the plan's to say and what does exist is MLflow's; the queue can be rebuilt from the two.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ablate.errors import AblateError

if TYPE_CHECKING:
    import optuna

# Optuna looks through what waits at every ask, so little is let wait at a time.
WINDOW = 64
KEY = "key"


class TrialQueue:
    """The trials of one campaign that are to be run, each handed out exactly once.

    Args:
        study: Optuna's study of the campaign.

    Attributes:
        done: keys of the trials that some dispatcher once finished.
    """

    def __init__(self, study: optuna.Study) -> None:
        import optuna

        self._study = study
        self._states = optuna.trial.TrialState
        self._running: dict[str, optuna.Trial] = {}
        self._wanted: set[str] = set()
        self._todo: deque[str] = deque()
        self._waiting: list[str] = []
        self.done = self._take_over()

    def _take_over(self) -> frozenset[str]:
        """What an earlier dispatcher left: its running trials have failed, what waits goes on waiting."""
        done = set()
        for trial in self._study.get_trials(deepcopy=False):
            key = trial.user_attrs.get(KEY, "")
            if trial.state == self._states.RUNNING:
                self._study.tell(trial.number, state=self._states.FAIL)
            elif trial.state == self._states.WAITING:
                self._waiting.append(key)
            elif trial.state in (self._states.COMPLETE, self._states.PRUNED):
                done.add(key)
        return frozenset(done)

    def add(self, keys: Iterable[str]) -> None:
        """Trials to run, behind those that were added before."""
        new = [key for key in dict.fromkeys(keys) if key not in self._wanted]
        self._wanted.update(new)
        self._todo.extend(key for key in new if key not in self._waiting)

    def next(self) -> str | None:
        """The key of the next trial to run, or None when every one that was added has been handed out."""
        while self._waiting or self._todo:
            if not self._waiting:
                for _ in range(min(WINDOW, len(self._todo))):
                    key = self._todo.popleft()
                    self._study.enqueue_trial({}, user_attrs={KEY: key})
                    self._waiting.append(key)
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
            self._study.tell(self._running.pop(key), state=self._states.PRUNED)
        else:
            self._study.tell(self._running.pop(key), value)

    def learn(self, key: str, value: float | None) -> None:
        """Enters a trial that was finished without this queue's knowledge."""
        import optuna

        known = value is not None and math.isfinite(value)
        state = self._states.COMPLETE if known else self._states.PRUNED
        self._study.add_trial(
            optuna.trial.create_trial(state=state, value=value if known else None, user_attrs={KEY: key})
        )

    def failed(self, key: str) -> None:
        """A trial has none; a later call enqueues it again."""
        self._study.tell(self._running.pop(key), state=self._states.FAIL)


def open_queue(path: Path, name: str, *, maximize: bool = True) -> tuple[TrialQueue, str]:
    """The queue of campaign ``name`` in the sqlite file ``path``, and a sentence about what was wrong with the file.

    A file that is damaged, or of another version of Optuna, is set aside and the queue rebuilt; the sentence is empty
    where nothing was wrong.

    Raises:
        AblateError: the file cannot be opened or written.
    """
    try:
        return _open(path, name, maximize), ""
    except Exception as error:
        if not path.exists() or _is_access(error):
            raise AblateError(f"{path}: the queue cannot be opened: {_sentence(error)}") from error
        reason = _sentence(error)
    aside = path.with_name(f"{path.name}.damaged-{time.strftime('%Y%m%d-%H%M%S')}")
    path.replace(aside)
    for suffix in ("-journal", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    queue = _open(path, name, maximize)
    return queue, f"{path} could not be read ({reason}); it is kept as {aside.name} and the queue was rebuilt."


def queue_states(path: Path, name: str) -> list[tuple[str, str]]:
    """Key and state (WAITING, RUNNING, COMPLETE, PRUNED or FAIL) of all that a campaign's queue holds.

    Raises:
        AblateError: the file cannot be read.
    """
    import optuna

    if not path.exists():
        return []
    try:
        studies = {
            study.study_name for study in optuna.get_all_study_summaries(_storage(path), include_best_trial=False)
        }
        if name not in studies:
            return []
        trials = optuna.load_study(study_name=name, storage=_storage(path)).get_trials(deepcopy=False)
    except Exception as error:
        raise AblateError(f"{path}: the queue cannot be read: {_sentence(error)}") from error
    return [(str(trial.user_attrs.get(KEY, "")), trial.state.name) for trial in trials]


def _storage(path: Path) -> optuna.storages.RDBStorage:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna.storages.RDBStorage(f"sqlite:///{path.resolve()}", engine_kwargs={"connect_args": {"timeout": 60}})


def _open(path: Path, name: str, maximize: bool) -> TrialQueue:
    import optuna

    study = optuna.create_study(
        storage=_storage(path),
        study_name=name,
        direction="maximize" if maximize else "minimize",
        sampler=optuna.samplers.RandomSampler(seed=0),
        pruner=optuna.pruners.NopPruner(),
        load_if_exists=True,
    )
    return TrialQueue(study)


def _causes(error: BaseException | None) -> list[BaseException]:
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        wrapped = getattr(error, "orig", None)  # SQLAlchemy's name for the driver's own error
        error = wrapped if isinstance(wrapped, BaseException) else error.__cause__ or error.__context__
    return chain


def _is_access(error: BaseException) -> bool:
    """Whether the file is sound as far as one can tell, and only out of reach."""
    words = ("locked", "readonly", "read-only", "unable to open", "disk is full", "disk i/o")
    return any(
        isinstance(link, PermissionError) or any(word in str(link).lower() for word in words) for link in _causes(error)
    )


def _sentence(error: BaseException) -> str:
    lines = str(_causes(error)[-1]).strip().splitlines()
    return lines[0] if lines else type(error).__name__
