"""Batches in an order that seed, step and process determine; broken pictures are replaced and counted."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, Dataset

from humar_edge.errors import DataError
from humar_edge.training.batch import Batch, collate
from humar_edge.training.samples import Sample, SampleMaker

TRIES = 20
"""Pictures in a row that cannot be read: then the data set is no good."""


@dataclass(frozen=True)
class Order:
    """Which pictures a pass sees.

    Attributes:
        pictures: In the split.
        size: Per process and pass.
        seed: Of the shuffle and of the augmentation.
        process: This one.
        processes: All of them; together they see a batch of size * processes.
    """

    pictures: int
    size: int
    seed: int
    process: int = 0
    processes: int = 1

    def keys(self, number: int) -> list[tuple[int, int]]:
        """(picture, seed of its augmentation) of this process's part of pass `number`, counted from 0."""
        whole = self.size * self.processes
        epoch, position = divmod(number, max(1, self.pictures // whole))
        order = np.random.default_rng([self.seed, epoch]).permutation(self.pictures)
        start = position * whole + self.process * self.size
        # a split smaller than the batch is repeated
        chosen = order[np.arange(start, start + self.size) % self.pictures]
        return [(int(index), self.seed + 1 + epoch) for index in chosen]


@dataclass
class Samples(Dataset):
    """Samples by key; a picture that cannot be used, or has no prompt after cropping, gives way to a random one.

    Attributes:
        maker: Makes them.
        broken: Picture -> why it could not be used.
    """

    maker: SampleMaker
    broken: dict[Path, str] = field(default_factory=dict)

    def __getitem__(self, key: tuple[int, int]) -> tuple[Sample, dict[Path, str]]:
        index, seed = key
        met: dict[Path, str] = {}
        for number in self._turn(index, seed):
            path = self.maker.groups[number][0].image_path
            if path in self.broken:
                continue
            try:
                sample = self.maker.make(number, seed)
            except DataError as error:
                met[path] = self.broken[path] = str(error)
                if len(met) == TRIES:
                    break
                continue
            if sample.targets:
                return sample, met
        why = next(iter(self.broken.values()), "no prompts")
        raise DataError(f"too many pictures cannot be used ({why}); run: humar-edge data check DIR")

    def _turn(self, index: int, seed: int) -> Iterator[int]:
        """A picture, and those to try instead: not its neighbours, or what follows bad ones would be seen too often."""
        yield index
        yield from np.random.default_rng([seed, index]).permutation(len(self.maker)).tolist()


def _join(made: list[tuple[Sample, dict[Path, str]]]) -> tuple[Batch, dict[Path, str]]:
    broken: dict[Path, str] = {}
    for _, met in made:
        broken |= met
    return collate([sample for sample, _ in made]), broken


class Stream:
    """Endless batches from pass `start` on.

    Args:
        maker: Makes the samples.
        order: Which ones.
        start: Number of the first pass.
        workers: Processes that prepare them; 0: a thread prepares one batch ahead.

    Attributes:
        broken: Reason -> number of pictures met that cannot be used.
    """

    def __init__(self, maker: SampleMaker, order: Order, start: int = 0, workers: int = 0) -> None:
        self.samples, self.order, self.start, self.workers = Samples(maker), order, start, workers
        self.broken: Counter[str] = Counter()
        self._seen: set[Path] = set()
        self._batches = self._in_processes() if workers else self._in_thread()

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        batch, broken = next(self._batches)
        for path in broken.keys() - self._seen:
            self.broken["picture that cannot be read or is of another size than annotated"] += 1
            self._seen.add(path)
        return batch

    def close(self) -> None:
        """Stop preparing."""
        self._batches.close()

    def _in_thread(self) -> Any:
        def prepare(number: int) -> tuple[Batch, dict[Path, str]]:
            return _join([self.samples[key] for key in self.order.keys(number)])

        with ThreadPoolExecutor(1) as pool:
            number = self.start
            ahead: Future[tuple[Batch, dict[Path, str]]] = pool.submit(prepare, number)
            while True:
                ready, number = ahead.result(), number + 1
                ahead = pool.submit(prepare, number)
                yield ready

    def _in_processes(self) -> Any:
        loader = DataLoader(
            self.samples,
            batch_sampler=_Keys(self.order, self.start),
            num_workers=self.workers,
            collate_fn=_join,
            multiprocessing_context="spawn",
            worker_init_fn=_leave_signals,
        )
        yield from loader


def _leave_signals(_: int) -> None:
    """A worker goes on when its whole group is told to stop: the process that trains finishes its step and saves."""
    for request in (signal.SIGINT, signal.SIGTERM):
        signal.signal(request, signal.SIG_IGN)


@dataclass
class _Keys:
    order: Order
    start: int

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        number = self.start
        while True:
            yield self.order.keys(number)
            number += 1
