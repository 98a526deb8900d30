"""How to train which model: rates, warm-up, decay, length and batch sizes, as tables."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Recipe:
    """How to train.

    Attributes:
        batch: Pictures per process and pass.
        accumulate: Passes per step; a step sees batch * accumulate * processes pictures.
        steps: Steps in all; the schedule ends there.
        minutes: Time limit; the schedule ends there too, whichever comes first.
        rate: Learning rate of the transformer.
        backbone_rate: Learning rate of the backbone.
        text_rate: Learning rate of the text encoder, where it is trained.
        decay: Weight decay of matrices and kernels (none on norms, biases, embeddings and tables).
        warmup: Steps of linear warm-up.
        schedule: A key of `schedule.SCHEDULES`.
        clip: Largest gradient norm.
        average: Decay of the moving average.
        dropout: Dropout of the projected prompt.
        decoded: People per process and pass whose keypoints and mask are decoded.
        select_weight: Factor of the loss of choosing the person.
        attribute_weight: Factor of the loss of naming what people wear, where the data say it; 0 turns it off.
        precision: `fp32`, `bf16` or `fp16`: autocast of the forward pass.
        fixed_norms: Batch norms keep their statistics (tiny batches, comparisons).
        workers: Processes that prepare samples; 0 prepares one batch ahead in a thread.
        keep: Checkpoints to keep, the last one included.
        save_every: Steps between checkpoints.
        seed: Seeds weights, order and augmentation.
    """

    batch: int = 8
    accumulate: int = 1
    steps: int = 20_000
    minutes: float = math.inf
    rate: float = 1.5e-3
    backbone_rate: float = 4e-4
    text_rate: float = 4e-4
    decay: float = 0.02
    warmup: int = 200
    schedule: str = "cosine"
    clip: float = 5.0
    average: float = 0.998
    dropout: float = 0.0
    decoded: int = 10
    select_weight: float = 1.0
    attribute_weight: float = 2.5
    precision: str = "fp32"
    fixed_norms: bool = False
    workers: int = 0
    keep: int = 1
    save_every: int = 200
    seed: int = 0


@dataclass(frozen=True)
class Plan:
    """One row of `PLANS`: a recipe whose length is in epochs.

    Attributes:
        recipe: Rates and so on.
        epochs: Passes over the pictures; None: `recipe.steps` counts.
        about: What it is for.
    """

    recipe: Recipe
    epochs: int | None
    about: str


PLANS: dict[str, Plan] = {
    "short": Plan(Recipe(), None, "hours on a CPU: high rates, small batches, mostly fresh layers"),
    "light": Plan(
        Recipe(rate=2e-4, backbone_rate=2e-5, text_rate=2e-5, decay=1e-5, warmup=2000, average=0.9998, keep=3),
        100,
        "models under 50M parameters, as the variants' document advises",
    ),
    "large": Plan(
        Recipe(
            rate=1e-4, backbone_rate=1e-5, text_rate=1e-5, decay=1e-4, warmup=2000, dropout=0.1, average=0.9998, keep=3
        ),
        50,
        "light families of 50M parameters and more: half the rate, dropout, fewer epochs",
    ),
    "paper": Plan(
        Recipe(
            rate=1e-4,
            backbone_rate=1e-5,
            text_rate=1e-5,
            decay=1e-4,
            warmup=0,
            schedule="step",
            clip=0.1,
            average=0.9998,
            keep=3,
        ),
        20,
        "the original transformer, as UniPHD trained it",
    ),
}

SHORT_COMBOS = ("edge-lite",)
"""Combinations that are no part of the variants' document and were made to be trained on a CPU."""

LIGHT_MILLIONS = 50.0

MEMORY_GB = (6.0, 8.0, 12.0)
BATCHES: tuple[tuple[float, tuple[int, int, int]], ...] = (
    (30.0, (8, 16, 32)),
    (50.0, (4, 8, 16)),
    (100.0, (2, 4, 8)),
    (math.inf, (1, 2, 4)),
)
"""Parameters in millions below which a row holds -> pictures per pass at 6, 8 and 12 GB: the document's lower bounds,
because a picture here carries several prompts."""
CPU_BATCH = 8


def plan_for(combo_name: str, transformer_type: str, millions: float) -> str:
    """Name of the plan for a model of so many million parameters."""
    if transformer_type == "original":
        return "paper"
    if combo_name in SHORT_COMBOS:
        return "short"
    return "light" if millions < LIGHT_MILLIONS else "large"


def batch_for(millions: float, memory_gb: float | None) -> int:
    """Pictures per pass that should fit.

    Args:
        millions: Parameters of the whole model.
        memory_gb: Memory of the GPU; None on a CPU.
    """
    sizes = next(sizes for limit, sizes in BATCHES if millions < limit)
    if memory_gb is None:
        return min(CPU_BATCH, sizes[0] if millions >= LIGHT_MILLIONS else CPU_BATCH)
    # Drivers keep a little: a card of 8 GB reports 7.6 to 7.9.
    fitting = [size for limit, size in zip(MEMORY_GB, sizes, strict=True) if memory_gb >= 0.93 * limit]
    return fitting[-1] if fitting else max(1, sizes[0] // 2)


def target_batch(millions: float) -> int:
    """Pictures per step that the rates are meant for: what the largest GPU of the table holds at once."""
    return next(sizes for limit, sizes in BATCHES if millions < limit)[-1]


def finished(plan: Plan, pictures: int, processes: int, changes: dict[str, Any], epochs: float | None = None) -> Recipe:
    """The plan's recipe with the user's changes, and its length in steps.

    Args:
        plan: A value of `PLANS`.
        pictures: Pictures of the training split.
        processes: Processes that train together.
        changes: Fields of `Recipe` to replace; None leaves a field alone.
        epochs: Replaces the plan's; an explicit `steps` among the changes wins over both.
    """
    recipe = replace(plan.recipe, **{name: value for name, value in changes.items() if value is not None})
    length = epochs if epochs is not None else plan.epochs
    if changes.get("steps") is None and length is not None:
        per_epoch = max(1, pictures // (recipe.batch * recipe.accumulate * processes))
        recipe = replace(recipe, steps=max(1, math.ceil(length * per_epoch)))
    if changes.get("warmup") is None:  # a small data set must not end before it is warm
        recipe = replace(recipe, warmup=min(recipe.warmup, recipe.steps // 10))
    return recipe
