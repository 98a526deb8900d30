"""Recipes, schedules and optimizer groups."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

from humar_edge.training.groups import parameter_groups  # noqa: E402
from humar_edge.training.recipes import PLANS, Recipe, batch_for, finished, plan_for, target_batch  # noqa: E402
from humar_edge.training.schedule import schedule  # noqa: E402


@pytest.mark.parametrize(
    ("combo", "transformer", "millions", "plan"),
    [
        ("balanced-light", "fully_conv_optim", 29, "light"),
        ("full-featured-light", "fully_conv_optim", 72, "large"),
        ("original-light", "original", 54, "paper"),
        ("edge-lite", "fully_conv_optim", 28, "short"),
        ("edge-lite", "original", 54, "paper"),
    ],
)
def test_the_plan_follows_from_the_model(combo: str, transformer: str, millions: float, plan: str) -> None:
    assert plan_for(combo, transformer, millions) == plan


def test_small_models_train_as_the_document_says() -> None:
    plan = PLANS["light"]
    recipe = plan.recipe
    assert (recipe.rate, recipe.warmup, recipe.dropout, recipe.decay, plan.epochs) == (2e-4, 2000, 0.0, 1e-5, 100)
    assert PLANS["large"].recipe.rate == PLANS["paper"].recipe.rate == 1e-4


@pytest.mark.parametrize(
    ("millions", "memory", "batch"),
    [(20, 5.8, 8), (20, 7.7, 16), (20, 24, 32), (40, 6, 4), (72, 11.9, 8), (180, 6, 1), (20, 4, 4), (180, 2, 1)],
)
def test_batch_by_memory_and_size(millions: float, memory: float, batch: int) -> None:
    assert batch_for(millions, memory) == batch <= target_batch(millions)


def test_length_in_epochs_unless_steps_are_given() -> None:
    made = finished(PLANS["light"], 1000, 2, {"batch": 8, "accumulate": 2, "rate": None})
    assert made.steps == 100 * (1000 // 32) and made.rate == 2e-4
    assert finished(PLANS["light"], 1000, 1, {"batch": 8, "steps": 7}, epochs=3).steps == 7
    assert finished(PLANS["light"], 16, 1, {"batch": 8}, epochs=0.5).steps == 1
    assert finished(PLANS["light"], 80, 1, {"batch": 8}, epochs=10).warmup == 10  # not longer than a tenth
    assert finished(PLANS["light"], 80, 1, {"batch": 8, "warmup": 50}, epochs=10).warmup == 50


def test_schedules() -> None:
    cosine, step = Recipe(warmup=10), Recipe(warmup=0, schedule="step")
    assert schedule(0, 0, cosine) == pytest.approx(0.1) and schedule(0, 9, cosine) == 1
    assert schedule(0.5, 100, cosine) == pytest.approx(0.505) and schedule(2, 100, cosine) == pytest.approx(0.01)
    assert [schedule(progress, 0, step) for progress in (0, 0.89, 0.9, 1)] == [1, 1, 0.1, 0.1]


def test_every_trainable_parameter_is_in_one_group_and_norms_do_not_decay() -> None:
    from tiny_training import tiny_encoder, tiny_network

    encoder = tiny_encoder()
    network = tiny_network(encoder)
    network.text_encoder = encoder
    network.backbone.layers[0].requires_grad_(False)
    recipe = replace(Recipe(), rate=3.0, backbone_rate=2.0, text_rate=1.0, decay=0.5)
    groups = parameter_groups(network, recipe)
    found = {id(p): group for group in groups for p in group["params"]}
    assert sum(len(group["params"]) for group in groups) == len(found)
    wanted = {name: p for name, p in network.named_parameters() if p.requires_grad}
    assert found.keys() == {id(p) for p in wanted.values()}
    rates = {"backbone": 2.0, "transformer": 3.0, "text_encoder": 1.0}
    for name, parameter in wanted.items():
        group = found[id(parameter)]
        assert group["lr"] == group["base"] == rates[name.split(".")[0]]
        embeddings = ("text_encoder.tokens.weight", "positions.weight")
        plain = parameter.dim() < 2 or name.endswith(("adjacency", "kinds", "place", *embeddings))
        assert group["weight_decay"] == (0.0 if plain else 0.5), name
    assert math.isinf(Recipe().minutes)
