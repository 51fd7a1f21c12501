"""Trials as tasks of a Ray cluster: on this machine, or on as many as there are.

A task is one attempt at one trial, in a process of its own on its node. It streams its progress and ends with its
record, so the machines need share no disk; a data set is put into the cluster's object store once.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablate.campaign.executor import Event, Finished, Job, Lost, Progress, Trainer, init_file_of
from ablate.campaign.local import TRAINING, LocalExecutor
from ablate.campaign.options import CampaignStopped
from ablate.campaign.records import RecordStore
from ablate.campaign.worker import describe, train_trial
from ablate.design.datasets import prepared_file
from ablate.design.own_training import OwnTraining
from ablate.errors import AblateError
from ablate.files import write_whole
from ablate.paths import default_data_root

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LOCAL, AUTO = "local", "auto"
LISTEN_S = 1.0
ANSWER_S = 30.0  # how long a cluster may take to answer
COUNTED_S = 5.0  # how long a count of the cluster's places holds
HEAD_S, LOST_S = 2.0, 10.0  # how often the head is looked for; Ray itself ends the process after 60 s without one
NODES_LOST = 5  # after so many under one trial, the trial itself is suspected
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
PROBE = "import ray, sys; ray.init(address=sys.argv[1], log_to_driver=False, logging_level='ERROR')"


@dataclass(eq=False)
class _Running:
    job: Job
    stream: Any  # ray.ObjectRefGenerator


class RayExecutor:
    """Runs trials as tasks of a Ray cluster, to which it connects when it is first used.

    A node that is lost gives its trials back without blame, so that they run elsewhere and keep their attempts; a trial
    under which ``NODES_LOST`` nodes were lost is blamed from then on. Trials wait while the cluster has no room.

    Args:
        address: HOST:PORT of a running cluster; ``auto``: the one that runs on this machine or that $RAY_ADDRESS
            names; ``local``: one of this machine's own, made now and ended with the executor.
        jobs: trials at a time; None: as many as the cluster holds, counted anew as nodes come and go.
        cpus_per_trial, gpus_per_trial: what a trial takes of its node; fractions share a GPU.
        train, preload: as of ``LocalExecutor``.
    """

    def __init__(
        self,
        *,
        address: str = LOCAL,
        jobs: int | None = None,
        cpus_per_trial: float = 1.0,
        gpus_per_trial: float = 0.0,
        train: Trainer = train_trial,
        preload: Sequence[str] = TRAINING,
    ) -> None:
        self._address = address
        self._jobs = jobs
        self._cpus, self._gpus = cpus_per_trial, gpus_per_trial
        self._train, self._preload = train, tuple(preload)
        self._ray: Any = None
        self._ours = False
        self._task: Any = None
        self._running: dict[str, _Running] = {}
        self._parcels: dict[Path, tuple[Any, str]] = {}
        self._nodes_lost: Counter[str] = Counter()
        self._places, self._counted = 0, float("-inf")
        self._head = Head("")

    @property
    def capacity(self) -> int:
        """See ``Executor.capacity``.

        Raises:
            AblateError: Ray is not installed, no cluster answers, or no node has what a trial takes.
        """
        self._connect()
        if self._jobs is not None:
            return self._jobs
        # a lost head is asked nothing: Ray would wait for it, and end the process after a minute
        if time.monotonic() > self._counted + COUNTED_S and self._head.answers():
            self._places, self._counted = sum(map(self._places_of, self._nodes())), time.monotonic()
        return max(1, self._places)  # a trial that is submitted to a cluster without a node waits for the next node

    def submit(self, job: Job) -> None:
        """See ``Executor.submit``; errors as of ``capacity``."""
        self._connect()
        data = self._parcel(data_file_of(job))
        init = self._parcel(init_file_of(job.trial, job.init_file, job.data_root))
        stream = self._task.remote(job, self._train, self._preload, *data, owner_of(job.store), *init)
        self._running[job.key] = _Running(job, stream)

    def events(self, timeout_s: float) -> list[Event]:
        """See ``Executor.events``; time limits are kept on the nodes.

        Raises:
            CampaignStopped: the head of the cluster was lost.
        """
        found: list[Event] = []
        if self._ray is not None and self._head.is_lost():
            raise CampaignStopped(
                f"the head of the Ray cluster at {self._head.address} does not answer any more; nothing finished is "
                f"lost. Start the cluster again, and rerun the command to resume"
            )
        if not self._running:
            time.sleep(timeout_s)
        ready = self._ready(timeout_s, 1)
        while ready:
            for running in ready:
                found += self._take(running)
            ready = self._ready(0.0, len(self._running))
        return found

    def cancel(self, key: str) -> None:
        """Ends the task and its process; its last checkpoint stays on the node."""
        running = self._running.pop(key, None)
        if running is not None:
            with contextlib.suppress(self._ray.exceptions.RayError):
                self._ray.cancel(running.stream, force=True)

    def close(self) -> None:
        """Cancels every task, and leaves the cluster; one whose head was lost is left as it is."""
        for key in list(self._running) if self._head.answered else ():
            self.cancel(key)
        self._running.clear()
        if self._ours and self._head.answered:
            self._ray.shutdown()
            self._ours = False
        self._ray = None
        self._parcels.clear()  # they lie in the cluster that was left
        self._counted = float("-inf")

    def _connect(self) -> None:
        if self._ray is not None:
            return
        os.environ.update({name: os.environ.get(name, value) for name, value in QUIET.items()})
        try:
            import ray
        except ImportError as error:
            raise AblateError(
                f"--executor ray needs the package ray ({error}); install it with `python -m pip install ray`"
            ) from error
        if not ray.is_initialized():
            if self._address != LOCAL:
                _probe(self._address)
            ray.init(
                address=self._address, include_dashboard=False if self._address == LOCAL else None,
                log_to_driver=False, logging_level=logging.ERROR,
            )  # fmt: skip
            self._ours = True
        self._ray = ray
        self._head = Head(ray.get_runtime_context().gcs_address)
        self._task = ray.remote(
            num_cpus=self._cpus, num_gpus=self._gpus, max_retries=0, num_returns="streaming"
        )(run_attempt)  # fmt: skip
        self._check_room()

    def _check_room(self) -> None:
        nodes = self._nodes()
        if nodes and not any(map(self._places_of, nodes)):
            held = "; ".join(f"{node.get('CPU', 0):g} CPUs and {node.get('GPU', 0):g} GPUs" for node in nodes)
            self.close()
            raise AblateError(
                f"a trial takes {self._cpus:g} CPUs (--cpus-per-trial) and {self._gpus:g} GPUs (--gpus-per-trial), "
                f"which no node of the Ray cluster has; its nodes have {held}"
            )

    def _nodes(self) -> list[dict[str, float]]:
        return [node["Resources"] for node in self._ray.nodes() if node["Alive"]]

    def _places_of(self, node: dict[str, float]) -> int:
        wanted = {"CPU": self._cpus, "GPU": self._gpus}
        return int(min(node.get(name, 0.0) / share + 1e-9 for name, share in wanted.items() if share))

    def _parcel(self, path: Path | None) -> tuple[Any, str]:
        """A file in the object store, put there once; (None, "") where there is none, as its trainer will say."""
        if path is None or not path.is_file():
            return None, ""
        if path not in self._parcels:
            import numpy as np

            content = path.read_bytes()
            held = self._ray.put(np.frombuffer(content, np.uint8))
            self._parcels[path] = held, hashlib.sha256(content).hexdigest()[:32]
        return self._parcels[path]

    def _ready(self, timeout_s: float, at_most: int) -> list[_Running]:
        streams = {running.stream: running for running in self._running.values()}
        if not streams:
            return []
        ready, _ = self._ray.wait(list(streams), num_returns=at_most, timeout=timeout_s, fetch_local=False)
        return [streams[stream] for stream in ready]

    def _take(self, running: _Running) -> list[Event]:
        """The next message of a task."""
        key = running.job.key
        try:
            message: Progress | End = self._ray.get(next(running.stream))
        except (self._ray.exceptions.RayError, StopIteration) as error:
            del self._running[key]
            return [self._lost(key, error)]
        if isinstance(message, Progress):
            return [message]
        del self._running[key]
        if isinstance(message.event, Finished):
            self._keep(running.job, message)
        return [message.event]

    def _keep(self, job: Job, end: End) -> None:
        assert isinstance(end.event, Finished)
        if end.weights is not None:
            write_whole(job.store.weights(job.key), end.weights)
        job.store.put(end.event.record)

    def _lost(self, key: str, error: Exception) -> Lost:
        exceptions = self._ray.exceptions
        lost = isinstance(error, exceptions.ObjectLostError)  # an object goes with the node that held it
        if lost:
            self._parcels.clear()  # it may have been the data, which are then put there again
        if lost or isinstance(error, exceptions.NodeDiedError):
            self._nodes_lost[key] += 1
            return Lost(key, "its node was lost", blameless=self._nodes_lost[key] < NODES_LOST)
        if isinstance(error, exceptions.OutOfMemoryError):
            return Lost(key, "killed by Ray because its node ran out of memory")
        if isinstance(error, exceptions.WorkerCrashedError):
            return Lost(key, "its node's worker process was killed (memory may have run out)")
        fault = describe(getattr(error, "cause", None) or error)
        return Lost(key, fault.reason, str(error)[-4000:], fault.disk_full, place="a node of the Ray cluster")


class Head:
    """The process of a cluster that knows where everything is.

    Attributes:
        address: HOST:PORT.
        answered: whether it did when it was last looked for.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.answered = True
        self._heard = self._looked = time.monotonic()

    def is_lost(self) -> bool:
        """Whether nobody has answered at the address for ``LOST_S``; it is looked for at most every ``HEAD_S``."""
        if time.monotonic() > self._looked + HEAD_S:
            self.answers()
        return time.monotonic() > self._heard + LOST_S and not self.answered

    def answers(self) -> bool:
        """Whether somebody answers at the address now."""
        self._looked, self.answered = time.monotonic(), self._connects()
        self._heard = self._looked if self.answered else self._heard
        return self.answered

    def _connects(self) -> bool:
        host, _, port = self.address.rpartition(":")
        try:
            with socket.create_connection((host.strip("[]"), int(port)), timeout=HEAD_S):
                return True
        except OSError:
            return False


@dataclass(frozen=True)
class End:
    """How an attempt ended on its node, with the weights where the trial keeps them."""

    event: Finished | Lost
    weights: bytes | None


def owner_of(store: RecordStore) -> str:
    """A name for a dispatcher's records that no other machine's or campaign's has."""
    return hashlib.sha256(f"{socket.gethostname()}:{store.records}".encode()).hexdigest()[:12]


def scratch(owner: str) -> Path:
    """The folder on this node for what a dispatcher's trials need and leave.

    Raises:
        AblateError: somebody else made a folder of its name.
    """
    home = Path(tempfile.gettempdir()) / f"ablate-{os.getuid()}"
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = home.lstat()
    if found.st_uid != os.getuid() or not stat.S_ISDIR(found.st_mode):
        raise AblateError(f"{home}: belongs to another user of this node; set TMPDIR to a folder of your own there")
    return home / owner


def run_attempt(
    job: Job,
    train: Trainer,
    preload: Sequence[str],
    content: NDArray[np.uint8] | None,
    digest: str,
    owner: str,
    init_content: NDArray[np.uint8] | None = None,
    init_digest: str = "",
) -> Iterator[Progress | End]:
    """Trains a job on this node; its end comes last. It resumes what an earlier attempt left here.

    Args:
        job: its paths are the dispatcher's, and are not touched.
        train: what trains a trial.
        preload: modules that the fork server loads once.
        content: the bytes of the data file; None where the trainer needs none.
        digest: of the content.
        owner: as ``owner_of`` names the dispatcher.
        init_content: the bytes of the weights that the trial starts from; None where there are none.
        init_digest: of these.
    """
    home = scratch(owner)
    store = RecordStore(home, job.store.study)
    data = _unpacked(home / "data" / f"{digest}.npz", content)
    init = _unpacked(home / "data" / f"{init_digest}{Path(job.trial.recipe.init_from).suffix}", init_content)
    here = replace(job, store=store, cache=home / "data", data_root=None, data_file=data, init_file=init)
    store.remove(job.key)
    executor = LocalExecutor(1, threads=job.threads, train=train, preload=preload)
    try:
        executor.submit(here)
        while True:
            for event in executor.events(LISTEN_S):
                if isinstance(event, Progress):
                    yield event
                    continue
                if isinstance(event, Lost) and event.disk_full:
                    event = replace(event, place=f"{home} on {socket.gethostname()}")
                weights = store.weights(job.key)
                yield End(event, weights.read_bytes() if weights.exists() and isinstance(event, Finished) else None)
                if isinstance(event, Finished):
                    store.clear(job.key)
                    store.remove(job.key)
                    weights.unlink(missing_ok=True)
                return
    finally:
        executor.close()


def data_file_of(job: Job) -> Path | None:
    """What a trial reads; training of the user's own finds its data itself."""
    if isinstance(job.trial.spec, OwnTraining):
        return None
    return job.data_file or prepared_file(job.trial.data, job.data_root or default_data_root(), job.cache)


def _unpacked(path: Path, content: NDArray[np.uint8] | None) -> Path | None:
    if content is None:
        return None
    if not (path.is_file() and path.stat().st_size == content.nbytes):
        write_whole(path, content.tobytes())
    return path


def _probe(address: str) -> None:
    """Asks in another process: Ray tries for minutes, and ends the process that asks, where nobody answers.

    Raises:
        AblateError: no cluster answers in time.
    """
    if address.startswith("ray://"):
        raise AblateError(
            f"--ray-address {address}: Ray's client protocol cannot be used; run the command on a machine of the "
            f"cluster with --ray-address auto, or give the address HOST:PORT that `ray start --head` printed"
        )
    command = [sys.executable, "-c", PROBE, address]
    try:
        done = subprocess.run(command, timeout=ANSWER_S, capture_output=True, check=False)  # noqa: S603 - our own words
        answered = done.returncode == 0
    except subprocess.TimeoutExpired:
        answered = False
    if not answered:
        raise AblateError(
            f"--ray-address {address}: no Ray cluster of this version answers there within {ANSWER_S:g} s; start one "
            f"with `ray start --head`, or use --ray-address local for one of this machine's own"
        )
