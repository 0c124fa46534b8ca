"""Movies are corrected by workers of a Dask cluster, on any number of computers that share the disks.

A worker keeps a `Session` from movie to movie. When a worker is lost, Dask gives its movies to others. Workers that
have a resource GPU correct one movie per unit of it, on their first visible GPU; otherwise movies are corrected on the
CPU.
"""

from __future__ import annotations

import json
import logging
import os
import pickle
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any

from restframe.batch.runner import Failure, RunState, correct_task
from restframe.batch.source import Task
from restframe.batch.status import RunCounts
from restframe.batch.worker import as_sent
from restframe.blas import single_blas_thread
from restframe.errors import ClusterError
from restframe.progress import Report
from restframe.session import Session
from restframe.settings import Settings

GPU_RESOURCE = "GPU"
SLURM = "slurm"
MAX_SLURM_JOBS = 8  # unless Dask's configuration has another number as restframe.jobs
WORKER_SECONDS = 600  # to wait for the first worker, which a batch system may start late
CONNECT_SECONDS = 30
MOVIES_PER_WORKER = 2  # handed out: one is corrected, one waits there
MAX_MOVIES_AT_ONCE = 256


@dataclass(frozen=True)
class Answer:
    """What a worker sends back: its lines, and the error if the movie could not be corrected."""

    lines: tuple[str, ...]
    error: Exception | None = None


def run_on_cluster(
    address: str, source: Iterable[Task], settings: Settings, report: Report, counts: RunCounts | None = None
) -> list[Failure]:
    """`run` on a cluster. ``address``: of a scheduler (tcp://host:8786), its file (NAME.json), or slurm.

    Raises `ClusterError` where there is no such cluster.
    """
    with connected(address) as client, RunState(source, report, counts) as state, ExitStack() as stack:
        workers = client.scheduler_info(n_workers=-1)["workers"].values()
        has_gpus = bool(settings.machine.gpus) and any(GPU_RESOURCE in worker["resources"] for worker in workers)
        machine = replace(settings.machine, gpus=(0,) if has_gpus else ())
        packed = pickle.dumps(replace(settings, machine=machine))
        slots = sum(int(worker["resources"].get(GPU_RESOURCE, 0)) if has_gpus else 1 for worker in workers)
        report(f"Cluster: {client.scheduler.address}, {len(workers)} workers, {'GPUs' if has_gpus else 'CPUs'}")

        def correct(task: Task, movie_report: Report) -> None:
            """Have a movie corrected by a worker."""
            future = client.submit(
                correct_on_worker,
                packed,
                task,
                os.getcwd(),
                pure=False,
                resources={GPU_RESOURCE: 1} if has_gpus else None,
            )
            answer: Answer = future.result()
            for line in answer.lines:
                movie_report(line)
            if answer.error is not None:
                raise answer.error

        def correct_tasks() -> None:
            """Take one task after the other until there are no more."""
            try:
                while taken := state.take():
                    number, task = taken
                    state.correct_and_save(number, partial(correct, task))
            except BaseException:
                state.queue.stop()
                raise

        stack.enter_context(state.queue)
        movies_at_once = min(MOVIES_PER_WORKER * max(slots, 1), MAX_MOVIES_AT_ONCE)
        pool = stack.enter_context(ThreadPoolExecutor(movies_at_once, "movie"))
        for running in [pool.submit(correct_tasks) for _ in range(movies_at_once)]:
            running.result()
    return state.failures


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """A client of the cluster that has at least one worker."""
    if find_spec("distributed") is None:
        raise ClusterError("Dask is not installed, which a cluster needs: pip install 'restframe[cluster]'.")
    from distributed import Client

    logging.getLogger("distributed").setLevel(logging.ERROR)
    with ExitStack() as stack:
        try:
            if address == SLURM:
                client = stack.enter_context(Client(stack.enter_context(slurm_cluster())))
            else:
                client = stack.enter_context(Client(scheduler_address(address), timeout=CONNECT_SECONDS))
            client.wait_for_workers(1, timeout=WORKER_SECONDS)
        except (OSError, TimeoutError, ValueError, KeyError, TypeError) as error:
            raise ClusterError(f"The cluster at {address}: {error or type(error).__name__}. Is it running?") from error
        yield client


def scheduler_address(address: str) -> str:
    """The address itself, or the one in the file that a scheduler has written."""
    if not address.endswith(".json"):
        return address
    return str(json.loads(Path(address).read_text(encoding="utf-8"))["address"])


@contextmanager
def slurm_cluster() -> Iterator[Any]:
    """Workers as jobs of Slurm, as many as there is work for, as Dask's configuration describes them."""
    if find_spec("dask_jobqueue") is None:
        raise ClusterError("dask-jobqueue is not installed, which Slurm jobs need: pip install dask-jobqueue.")
    import dask
    from dask_jobqueue import SLURMCluster

    defaults = {"cores": 4, "memory": "16GB", "processes": 1}
    given = dask.config.get("jobqueue.slurm", {})
    missing = {key: value for key, value in defaults.items() if given.get(key) is None}
    with SLURMCluster(**missing) as cluster:
        cluster.adapt(minimum_jobs=1, maximum_jobs=int(dask.config.get("restframe.jobs", MAX_SLURM_JOBS)))
        yield cluster


@lru_cache(maxsize=1)
def session_of(packed_settings: bytes) -> tuple[Session, Lock]:
    """The session of this worker, which one movie at a time may use."""
    return Session(pickle.loads(packed_settings)), Lock()


def correct_on_worker(packed_settings: bytes, task: Task, folder: str) -> Answer:
    """One movie from its file to its results, in a worker. ``folder``: in which the names of files are valid."""
    lines: list[str] = []
    try:
        os.chdir(folder)
        session, lock = session_of(packed_settings)
        with lock, single_blas_thread():
            correct_task(session, task, lines.append)
    except Exception as error:
        return Answer(tuple(lines), as_sent(error))
    return Answer(tuple(lines))
