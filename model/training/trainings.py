"""The trainings of one run, as many at a time as there are processes for them."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import re
import threading
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager
from functools import cache, partial
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from ..config import Config
from ..data.dataset import Dataset
from ..network.architecture import Architecture, Network
from . import distributed
from .teacher import fit_taught, soft_labels
from .train import Build


class TrainingError(Exception):
    """A training came to no end; one line says why."""


class Trainings(AbstractContextManager["Trainings"]):
    """Takes work, and hands out what it comes to when that is asked for.

    With one process each piece is done when its result is asked for. With several, the first question sets them all
    going: first the teachers, as trainings wait for theirs, then all else in order.

    Args:
        out: where checkpoints are kept; a training that was interrupted or done before goes on from there.
        processes: how many work side by side. What they make is the same for any number.
        threads: cores that each of them uses.
    """

    def __init__(self, out: Path, say: Callable[[str], None], processes: int = 1, threads: int = 1) -> None:
        self.out, self.say = out, say
        #: What a training's seconds are of, for the card.
        self.trained_on = _machine(processes, threads)
        torch.set_num_threads(threads)
        self._seconds: dict[str, float] = {}
        self._teachers: dict[str, Callable[[], tuple[dict[str, np.ndarray], float]]] = {}
        self._waiting: list[tuple[int, Future[Any], tuple[Any, ...]]] = []
        self._pool: ProcessPoolExecutor | None = None
        self._taken, self._done = 0, 0
        if processes > 1:
            # Not forked: a child would have its parent's threads' locks, but not the threads.
            self._pool = ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), _set_up, (threads,))

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        if self._pool:
            for process in multiprocessing.active_children() if error else ():
                process.terminate()
            self._pool.shutdown(cancel_futures=True)

    def begin(
        self, name: str, config: Config, build: Architecture | Build, dataset: Dataset, tensorboard: Path | None = None
    ) -> Callable[[], Network]:
        """Take a training called ``name``, unlike any other of the run; what is returned gives the network (see
        `fit`).
        """
        checkpoint = self.out / f"checkpoint-{re.sub(r'[^a-z0-9]+', '-', name.lower())}.safetensors"
        arguments = (config, build, dataset, checkpoint, partial(_named, self._say(), name), tensorboard)
        teacher = dataset.digest() if config.training.teacher else None
        if teacher and teacher not in self._teachers:
            self._teachers[teacher] = self._start(
                0, soft_labels, config, dataset, self.out, partial(_named, self._say(), "teacher")
            )
        return partial(self._network, name, self._start(1, fit_taught, *arguments))

    def seconds(self, name: str, dataset: Dataset) -> float:
        """What the training ``name`` took, with that of its teacher."""
        teacher = self._teachers.get(dataset.digest())
        return self._seconds[name] + (teacher()[1] if teacher else 0.0)

    def all_seconds(self) -> float:
        """What all trainings took, one after the other; those whose network was asked for."""
        return sum(self._seconds.values()) + sum(teacher()[1] for teacher in self._teachers.values())

    def start(self, work: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
        """Take ``work(*arguments)``; what is returned gives its result. With several processes all must be
        picklable.
        """
        return self._start(1, work, *arguments)

    def _network(self, name: str, training: Callable[[], tuple[Network, float]]) -> Network:
        network, self._seconds[name] = training()
        return network

    def _start(self, turn: int, work: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
        if not self._pool:
            return cache(partial(work, *arguments))
        result: Future[Any] = Future()
        self._waiting.append((turn, result, (work, *arguments)))
        return partial(self._result, self._pool, result)

    def _result(self, pool: ProcessPoolExecutor, result: Future[Any]) -> Any:
        for _, waiting, work in sorted(self._waiting, key=lambda each: each[0]):
            self._taken += 1
            pool.submit(*work).add_done_callback(partial(self._pass_on, waiting))
        self._waiting.clear()
        try:
            return result.result()
        except BrokenProcessPool:
            raise TrainingError(
                "a training's process was killed, perhaps for want of memory; the same command goes on, with fewer "
                "--processes"
            ) from None

    def _pass_on(self, to: Future[Any], done: Future[Any]) -> None:
        self._done += 1
        if done.cancelled():
            to.cancel()
        elif done.exception():
            to.set_exception(done.exception())
        else:
            to.set_result(done.result())
            self.say(f"{self._done} of {self._taken} done")

    def _say(self) -> Callable[[str], None]:
        # In a process of its own a training can only write.
        return partial(click.echo, err=True) if self._pool else self.say


def _machine(processes: int, threads: int) -> str:
    if distributed.device().type == "cuda":
        return f"an {torch.cuda.get_device_name()}" + (
            f" with {processes - 1} others beside it" if processes > 1 else ""
        )
    return "one processor core" if threads == 1 else f"{threads} processor cores"


def _set_up(threads: int) -> None:
    torch.set_num_threads(threads)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    # Else one whose parent was killed would go on for nobody.
    parent = multiprocessing.parent_process()
    if parent:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)


def _named(say: Callable[[str], None], name: str, line: str) -> None:
    say(f"{name}: {line}")
