"""The training loop, on accelerate: one process or many, mixed precision, resumable at any step."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn, cast

import torch
from torch import Tensor, nn

from humar_edge.errors import CheckpointError, HumarError
from humar_edge.training import checkpoint
from humar_edge.training.average import MovingAverage
from humar_edge.training.batch import Batch
from humar_edge.training.groups import parameter_groups
from humar_edge.training.loading import Order, Stream
from humar_edge.training.machine import Accelerator, fix_norms, open_accelerator, share_norms
from humar_edge.training.norms import PICTURES, folded_norms, unfold_norms
from humar_edge.training.recipes import Recipe
from humar_edge.training.samples import SampleMaker
from humar_edge.training.schedule import schedule
from humar_edge.training.shared import mean_over_processes
from humar_edge.training.signals import StopRequest
from humar_edge.training.step import LightStep, Texts, build_prompt

__all__ = ["Recipe", "Trainer", "averaged", "batches", "build_prompt", "parameter_groups", "schedule"]


def batches(maker: SampleMaker, size: int, seed: int, start: int) -> Iterator[Batch]:
    """Endless shuffled batches of one process from pass `start` on."""
    return Stream(maker, Order(len(maker), size, seed), start)


class Trainer:
    """Trains a network, writing checkpoints to `output/last`.

    Args:
        network: The network; a frozen text encoder lives in `texts` instead.
        texts: Word features of captions, for the default `module`.
        maker: Samples.
        recipe: How to train.
        output: Folder of the run.
        state: What to store in the checkpoint beside step and recipe (combination, sizes).
        accelerator: Processes, device and precision; default: as the recipe says, where the network is.
        module: Maps a batch to the parts of the loss, all `module.names`; default: `LightStep`.

    Attributes:
        step: Steps done.
        elapsed: Seconds of training, those before a resume included.
        stopped: Name of the signal that ended the last `run`, None if the schedule did.
        stream: Batches of the running `run`.
    """

    def __init__(
        self,
        network: nn.Module,
        texts: Texts | None,
        maker: SampleMaker,
        recipe: Recipe,
        output: Path,
        state: dict[str, Any],
        *,
        accelerator: Accelerator | None = None,
        module: nn.Module | None = None,
    ) -> None:
        where = next(network.parameters()).device.type
        self.accelerator = accelerator or open_accelerator(recipe.precision, where)
        self.recipe, self.output, self.state = recipe, output, state
        shared: Any = share_norms(network, self.accelerator)
        self.network, words = shared, cast(Texts, texts)
        self.texts, self.maker = texts, maker
        weight = recipe.select_weight
        self.module: Any = module or LightStep(shared, words, recipe.decoded, select_weight=weight)
        self.module.to(self.accelerator.device)
        optimizer = torch.optim.AdamW(parameter_groups(self.network, recipe), betas=(0.9, 0.98))
        self.model, self.optimizer = self.accelerator.prepare(self.module, optimizer)
        self.average = MovingAverage(self.network, recipe.average)
        self.step, self.elapsed = 0, 0.0
        self.stopped: str | None = None
        self.stream: Stream | None = None

    @property
    def device(self) -> torch.device:
        """Where this process computes."""
        found: torch.device = self.accelerator.device
        return found

    @property
    def is_main(self) -> bool:
        """Whether this process prints and writes."""
        return bool(self.accelerator.is_main_process)

    def resume(self, path: Path) -> None:
        """Continue from a checkpoint folder: weights, average, optimizer, step; rates and decay are the recipe's.

        Nothing else is needed: the order of the data and all random numbers follow from seed, step and process.

        Raises:
            CheckpointError: It cannot be read, or is of another network or of another choice of trained parts.
        """
        state = checkpoint.read_state(path)
        weights, average = checkpoint.read_weights(path, checkpoint.WEIGHTS), checkpoint.read_weights(path)
        optimizer = checkpoint.read_optimizer(path)
        asked = [{name: group[name] for name in ("base", "weight_decay")} for group in self.optimizer.param_groups]
        try:
            self.network.load_state_dict(weights)
            self.optimizer.load_state_dict(optimizer)
        except (RuntimeError, ValueError, KeyError) as error:
            raise CheckpointError(
                f"{path} does not continue this run ({checkpoint.reason(error)}); give the options of its "
                "start, another --output, or --init to take its weights alone"
            ) from error
        for group, wanted in zip(self.optimizer.param_groups, asked, strict=True):
            group.update(wanted)  # the optimizer's state has those of the run that wrote it
        self.average.tensors = {key: value.to(self.device) for key, value in average.items()}
        if self.accelerator.scaler is not None and "scaler" in state:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        self.step, self.elapsed = int(state["step"]), float(state["elapsed"])
        if "best" in state:
            self.state["best"] = state["best"]

    def unfold_norms(self) -> int:
        """Before the first step: give folded norms statistics of the data, unless they stay as they are; how many."""
        norms = folded_norms(self.network)
        if self.recipe.fixed_norms or self.step or not norms:
            return 0
        # the same pictures in every process, which so stay equal
        order = Order(len(self.maker), self.recipe.batch, self.recipe.seed)
        stream = Stream(self.maker, order, 0)
        passes = -(-PICTURES // self.recipe.batch)
        unfold_norms(self.module, norms, (next(stream).to(self.device) for _ in range(passes)))
        stream.close()
        self.average = MovingAverage(self.network, self.recipe.average)
        return len(norms)

    def _state(self) -> dict[str, Any]:
        progress = {"step": self.step, "elapsed": round(self.elapsed, 1), "recipe": asdict(self.recipe)}
        if self.accelerator.scaler is not None:
            progress["scaler"] = self.accelerator.scaler.state_dict()
        return self.state | progress

    def save(self) -> Path:
        """Write the checkpoint and return its folder; only the first process writes."""
        path = self.output / "last"
        if self.is_main:
            tensors, optimizer = self.average.tensors, self.optimizer
            checkpoint.save(path, self.network, tensors, optimizer, self._state(), keep=self.recipe.keep)
        return path

    def save_best(self, metrics: dict[str, Any]) -> Path:
        """Write `output/best`: the weights without what only resuming needs, and their metrics."""
        path = self.output / "best"
        if self.is_main:
            state = self._state() | {"metrics": metrics}
            checkpoint.save(path, self.network, self.average.tensors, None, state)
        return path

    def progress(self) -> float:
        """Share of the schedule that is done, by steps or by time, whichever is further."""
        return max(self.step / self.recipe.steps, self.elapsed / 60 / self.recipe.minutes)

    def run(self, report: Callable[[Trainer, dict[str, float]], None]) -> Path:
        """Train to the end of the schedule, or until SIGINT or SIGTERM; the state is saved either way.

        Args:
            report: Called after each step, in every process, with the parts of the loss, their sum as `loss`, and
                `data_wait`, the share of time spent waiting for batches.

        Returns:
            The last checkpoint.

        Raises:
            HumarError: Loss or gradient are not finite; the batch is saved and the weights are those before it.
        """
        self.output.mkdir(parents=True, exist_ok=True)
        self.module.train()
        self.module.prepare_modes()
        if self.recipe.fixed_norms:
            fix_norms(self.network)
        self.stopped = None
        before, waited, begin = self.elapsed, 0.0, time.monotonic()
        recipe, processes = self.recipe, self.accelerator.num_processes
        order = Order(len(self.maker), recipe.batch, recipe.seed, self.accelerator.process_index, processes)
        stream = self.stream = Stream(self.maker, order, self.step * recipe.accumulate, recipe.workers)
        try:
            with StopRequest() as request:
                while self.progress() < 1 and self.stopped is None:
                    asked = time.monotonic()
                    passes = [next(stream).to(self.device) for _ in range(recipe.accumulate)]
                    waited += time.monotonic() - asked
                    parts = self._update(passes, request, before + time.monotonic() - begin)
                    spent = max(time.monotonic() - begin, 1e-9)
                    report(self, parts | {"data_wait": waited / spent})
                    if self.step % recipe.save_every == 0:
                        self.save()
        finally:
            stream.close()
        return self.save()

    def _update(self, passes: list[Batch], request: StopRequest, elapsed: float) -> dict[str, float]:
        """One step of the optimizer; processes agree on its outcome, on stopping and on the time."""
        # dropout then depends on nothing but seed, step and process, so a resumed run repeats it
        torch.manual_seed((self.recipe.seed * 1_000_003 + self.step) * 4096 + self.accelerator.process_index)
        factor = schedule(self.progress(), self.step, self.recipe)
        for group in self.optimizer.param_groups:
            group["lr"] = group["base"] * factor
        self.optimizer.zero_grad(set_to_none=True)
        names = self.module.names
        sums, bad = torch.zeros(len(names), device=self.device), None
        for number, batch in enumerate(passes, 1):
            with nullcontext() if number == len(passes) else self.accelerator.no_sync(self.model):
                try:
                    parts = self.model(batch)
                except FloatingPointError:  # UniPHD's matching; without its losses other processes cannot go on either
                    self._give_up(batch)
                values = torch.stack([parts[name].float() for name in names]) / len(passes)
                self.accelerator.backward(values.sum())
            sums += values.detach()
            bad = bad if torch.isfinite(values).all() else batch
        norm = self.accelerator.clip_grad_norm_(self.network.parameters(), self.recipe.clip)
        if bad is None and self.accelerator.scaler is None and not torch.isfinite(norm):
            bad = passes[-1]
        facts = torch.tensor([bad is not None, request.name is not None, elapsed], dtype=torch.float32)
        agreed = mean_over_processes(torch.cat([facts.to(self.device), sums])).tolist()
        if agreed[0]:
            self._give_up(bad)
        self.optimizer.step()
        self.average.update(self.network, self.step)
        self.step += 1
        self.elapsed = agreed[2] if self.accelerator.num_processes > 1 else elapsed
        if agreed[1]:
            self.stopped = request.name or "a signal"
        return dict(zip(names, agreed[3:], strict=True)) | {"loss": sum(agreed[3:])}

    def _give_up(self, bad: Batch | None) -> NoReturn:
        path = self.output / f"bad_batch{self.accelerator.process_index or ''}.pt"
        if bad is not None:
            torch.save(vars(bad), path)
        raise HumarError(
            f"the loss is not finite at step {self.step}; the batch is in {path}, and the newest checkpoint is from "
            "before; try a lower --rate, or --precision fp32"
        )


def averaged(network: Any, tensors: dict[str, Tensor]) -> Any:
    """Load averaged weights into a network and return it in evaluation mode."""
    network.load_state_dict(tensors)
    network.eval()
    return network
