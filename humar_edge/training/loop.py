"""The training loop of the light families."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from humar_edge.errors import HumarError
from humar_edge.models.network import HumarNet
from humar_edge.models.prompting import Prompt
from humar_edge.training import checkpoint
from humar_edge.training.average import MovingAverage
from humar_edge.training.batch import Batch, collate
from humar_edge.training.losses import losses
from humar_edge.training.samples import SampleMaker
from humar_edge.training.text_cache import TextCache, join


@dataclass(frozen=True)
class Recipe:
    """How to train.

    Attributes:
        batch: Pictures per step.
        steps: Steps in all; the schedule ends there.
        minutes: Time limit; the schedule ends there too, whichever comes first.
        rate: Learning rate of the transformer.
        backbone_rate: Learning rate of the backbone.
        decay: Weight decay of matrices and kernels (none on norms, biases and embeddings).
        warmup: Steps of linear warm-up.
        clip: Largest gradient norm.
        average: Decay of the moving average.
        decoded: People per step whose keypoints and mask are decoded.
        bf16: Autocast to bfloat16.
        save_every: Steps between checkpoints.
        seed: Seeds weights, order and augmentation.
    """

    batch: int = 8
    steps: int = 20_000
    minutes: float = math.inf
    rate: float = 1.5e-3
    backbone_rate: float = 4e-4
    decay: float = 0.02
    warmup: int = 200
    clip: float = 5.0
    average: float = 0.998
    decoded: int = 10
    bf16: bool = False
    save_every: int = 200
    seed: int = 0


def parameter_groups(network: HumarNet, recipe: Recipe) -> list[dict[str, Any]]:
    """Optimizer groups by module and by whether decay applies."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for module, rate in ((network.backbone, recipe.backbone_rate), (network.transformer, recipe.rate)):
        for name, parameter in module.named_parameters():
            if parameter.requires_grad:
                plain = parameter.dim() < 2 or name.endswith(("adjacency", "kinds"))
                groups.setdefault((rate, 0.0 if plain else recipe.decay), []).append(parameter)
    return [{"params": p, "lr": rate, "base": rate, "weight_decay": decay} for (rate, decay), p in groups.items()]


def schedule(progress: float, step: int, recipe: Recipe) -> float:
    """Factor of the learning rate: linear warm-up, then a cosine to 1 % at progress 1."""
    return min(1.0, (step + 1) / recipe.warmup) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0))))


def batches(maker: SampleMaker, size: int, seed: int, start: int) -> Iterator[Batch]:
    """Endless shuffled batches from step `start` on, prepared one ahead in a thread."""
    per_epoch = max(1, len(maker) // size)

    def prepare(step: int) -> Batch:
        epoch, position = divmod(step, per_epoch)
        order = np.random.default_rng([seed, epoch]).permutation(len(maker))
        chosen = order[position * size : (position + 1) * size]
        return collate([maker.make(int(i), seed + 1 + epoch) for i in chosen])

    with ThreadPoolExecutor(1) as pool:
        ahead: Future[Batch] = pool.submit(prepare, start)
        step = start
        while True:
            ready, step = ahead.result(), step + 1
            ahead = pool.submit(prepare, step)
            yield ready


def build_prompt(network: HumarNet, texts: TextCache, batch: Batch, pyramid: Any) -> Prompt:
    """One prompt per row of the batch: text, or points where the batch says so."""
    device = batch.image.device
    words, mask, sentence = (x.to(device) for x in texts(batch.captions))
    prompt: Prompt = network.transformer.text_prompt(words, mask, sentence)
    if not len(batch.pointed):
        return prompt
    read = pyramid.rows(batch.owner[batch.pointed])
    return join(prompt, network.transformer.point_prompt(read, batch.points), batch.pointed)


class Trainer:
    """Trains a network, writing checkpoints to `output/last`.

    Args:
        network: The network; its text encoder lives in `texts`.
        texts: Frozen text features.
        maker: Samples.
        recipe: How to train.
        output: Folder of the run.
        state: What to store in the checkpoint beside step and recipe (combination, sizes).
    """

    def __init__(
        self,
        network: HumarNet,
        texts: TextCache,
        maker: SampleMaker,
        recipe: Recipe,
        output: Path,
        state: dict[str, Any],
    ) -> None:
        self.network, self.texts, self.maker = network, texts, maker
        self.recipe, self.output, self.state = recipe, output, state
        self.device = next(network.parameters()).device
        self.optimizer = torch.optim.AdamW(parameter_groups(network, recipe), betas=(0.9, 0.98))
        self.average = MovingAverage(network, recipe.average)
        self.step, self.elapsed = 0, 0.0

    def resume(self, path: Path) -> None:
        """Continue from a checkpoint folder: weights, average, optimizer, step."""
        state = checkpoint.read_state(path)
        self.network.load_state_dict(checkpoint.read_weights(path, checkpoint.WEIGHTS))
        self.average.tensors = {k: v.to(self.device) for k, v in checkpoint.read_weights(path).items()}
        self.optimizer.load_state_dict(checkpoint.read_optimizer(path))
        self.step, self.elapsed = int(state["step"]), float(state["elapsed"])

    def save(self) -> Path:
        """Write the checkpoint and return its folder."""
        path = self.output / "last"
        progress = {"step": self.step, "elapsed": round(self.elapsed, 1), "recipe": asdict(self.recipe)}
        checkpoint.save(path, self.network, self.average.tensors, self.optimizer, self.state | progress)
        return path

    def _update(self, batch: Batch, progress: float) -> dict[str, float]:
        factor = schedule(progress, self.step, self.recipe)
        for group in self.optimizer.param_groups:
            group["lr"] = group["base"] * factor
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.bf16):
            pyramid = self.network.pyramid(batch.image)
            prompt = build_prompt(self.network, self.texts, batch, pyramid)
            parts = losses(self.network.transformer, pyramid, prompt, batch, self.recipe.decoded)
        total = torch.stack(list(parts.values())).sum()
        if not torch.isfinite(total):
            torch.save(vars(batch), self.output / "bad_batch.pt")
            raise HumarError(
                f"the loss is not finite at step {self.step}; the batch is in {self.output / 'bad_batch.pt'}; "
                "try a lower --rate, or --no-bf16"
            )
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.clip)
        self.optimizer.step()
        self.average.update(self.network, self.step)
        self.step += 1
        return {name: float(value.detach()) for name, value in parts.items()} | {"loss": float(total.detach())}

    def run(self, report: Callable[[Trainer, dict[str, float]], None]) -> Path:
        """Train to the end of the schedule; `report` is called after each step. Returns the last checkpoint."""
        self.network.train()
        self.network.backbone.eval()  # batches are too small for its statistics; ImageNet's serve
        self.output.mkdir(parents=True, exist_ok=True)
        before, waited, begin = self.elapsed, 0.0, time.monotonic()
        stream = batches(self.maker, self.recipe.batch, self.recipe.seed, self.step)
        try:
            while (progress := self.progress()) < 1:
                asked = time.monotonic()
                batch = next(stream).to(self.device)
                waited += time.monotonic() - asked
                parts = self._update(batch, progress)
                self.elapsed = before + time.monotonic() - begin
                report(self, parts | {"data_wait": waited / max(self.elapsed - before, 1e-9)})
                if self.step % self.recipe.save_every == 0:
                    self.save()
        finally:
            stream.close()  # type: ignore[attr-defined]
        return self.save()

    def progress(self) -> float:
        """Share of the schedule that is done, by steps or by time, whichever is further."""
        return max(self.step / self.recipe.steps, self.elapsed / 60 / self.recipe.minutes)


def averaged(network: HumarNet, tensors: dict[str, Tensor]) -> HumarNet:
    """Load averaged weights into a network and return it in evaluation mode."""
    network.load_state_dict(tensors)
    network.eval()
    return network
