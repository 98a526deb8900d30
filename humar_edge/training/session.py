"""One training run from command-line options: data, network, loop, validation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import nn

from humar_edge.combos import Combo, resolve
from humar_edge.data.entries import Entry
from humar_edge.errors import CheckpointError, ConfigError
from humar_edge.training import checkpoint
from humar_edge.training.attributes import join_tables
from humar_edge.training.average import MovingAverage
from humar_edge.training.build import (
    NOT_CHOOSING,
    STEM,
    build_network,
    build_original,
    describe,
    freeze,
    quick_math,
    without_attributes,
)
from humar_edge.training.display import Display
from humar_edge.training.loop import Trainer
from humar_edge.training.machine import Accelerator, default_precision, gpu_memory_gb, open_accelerator
from humar_edge.training.norms import PICTURES
from humar_edge.training.options import check, precision_of, prompt_mix
from humar_edge.training.recipes import PLANS, Recipe, batch_for, finished, plan_for, target_batch
from humar_edge.training.samples import SampleMaker, SampleOptions, group_by_image
from humar_edge.training.sources import list_pictures, open_indices
from humar_edge.training.step import LightStep, LiveText
from humar_edge.training.text_cache import TextCache, short_tokenizer
from humar_edge.training.texts import is_trained, open_encoder, stored_encoder
from humar_edge.training.validation import Validator, figures_of
from humar_edge.training.whitening import whiten

TOKENS = 32
TEXT = "text_encoder."
"""Begins the names of a light network's weights of its text encoder."""
LIGHT_PROMPTS, ORIGINAL_PROMPTS = 5, 1
"""Prompts per picture: the light families share the backbone's pass among them, the original does not."""


def _beginnings(options: dict[str, Any]) -> list[Path]:
    """Checkpoints that the run goes on from, best first: its own, then that of `--init`."""
    begun = checkpoint.candidates(options["output"] / "last") if options["resume"] else []
    return [*begun, *([options["init"]] if options["init"] else [])]


def _encoder(options: dict[str, Any], name: str, entries: list[Entry]) -> tuple[Any, bool]:
    """The text encoder to start from, and whether it is that of a checkpoint, whose weights are loaded later."""
    paths = _beginnings(options)
    stored = stored_encoder(name, paths)
    if stored is None:
        return open_encoder(name, entries, options["text_source"]), False
    if options["text_source"] and paths[0] == options["init"]:
        raise ConfigError(f"--text-source: {options['init']} of --init has its own text encoder; leave one of them out")
    return stored, True


def _network(
    options: dict[str, Any], combo: Combo, encoder: Any, trained: bool, attributes: int, *, inside: bool
) -> Any:
    """The network to train, its text encoder `inside` or, in a light family, left out."""
    arguments = {"pretrained": options["pretrained"], "weights": options["backbone_weights"]}
    network: Any
    if combo.transformer_type == "original":
        network = build_original(combo, encoder.requires_grad_(trained), **arguments)
    else:
        network = build_network(combo, encoder if inside else None, encoder.dim, attributes=attributes, **arguments)
    if options["freeze_stem"]:
        freeze(network.backbone, STEM)
    if options["only_choice"]:
        if combo.transformer_type == "original":
            raise ConfigError("--only-choice: the original transformer chooses with all its layers")
        freeze(network, NOT_CHOOSING)
    return network


def _take(network: nn.Module, path: Path) -> None:
    """Start from the averaged weights of a checkpoint.

    Raises:
        CheckpointError: They do not fit.
    """
    weights, own = checkpoint.read_weights(path), network.state_dict()
    heads = [name for name in own if name.startswith("attributes.")]
    if any(name not in weights or weights[name].shape != own[name].shape for name in heads):
        weights |= {name: own[name] for name in heads}  # another table, or none: a fresh head
    if not any(name.startswith(TEXT) for name in weights):  # it was frozen, and is that of the run
        weights |= {name: value for name, value in own.items() if name.startswith(TEXT)}
    try:
        network.load_state_dict(weights if heads else without_attributes(weights))
    except RuntimeError as error:
        raise CheckpointError(f"--init {path} does not fit: {checkpoint.reason(error)}") from error


def _fixed_backbone(options: dict[str, Any]) -> bool:
    """Whether norms of the backbone keep their statistics: as the run or `--init` began, else if it is pretrained."""
    for path in _beginnings(options):
        try:
            return bool(checkpoint.read_state(path).get("fixed_backbone", True))
        except CheckpointError:
            continue  # resuming passes over it too
    return options["pretrained"] or options["backbone_weights"] is not None


def _recipe(
    options: dict[str, Any], transformer: str, millions: float, pictures: int, processes: int, precision: str
) -> tuple[str, Recipe]:
    """Name of the plan, and the recipe with batch sizes for this machine and the user's changes."""
    name = options["recipe"]
    if name == "auto":
        name = plan_for(options["combo"], transformer, millions)
    changes = {field: options.get(field) for field in Recipe.__dataclass_fields__}
    changes["precision"] = precision
    memory = gpu_memory_gb(options["device"])
    if changes["batch"] is None and (name != "short" or memory is not None):
        changes["batch"] = batch_for(millions, memory)
    batch = changes["batch"] or PLANS[name].recipe.batch
    if changes["accumulate"] is None and (options["target_batch"] or name != "short"):
        wanted = options["target_batch"] or target_batch(millions)
        changes["accumulate"] = max(1, round(wanted / (batch * processes)))
    if name != "short" and changes["decoded"] is None:
        changes["decoded"] = 2 * batch
    return name, finished(PLANS[name], pictures, processes, changes, options["epochs"])


def _module(options: dict[str, Any], network: Any, encoder: Any, trained: bool, recipe: Recipe, device: Any) -> Any:
    """What maps a batch to the losses, and the source of its word features."""
    if hasattr(network, "network"):
        if options["teacher"]:
            raise ConfigError("--teacher: the original transformer does not learn from a teacher; its losses differ")
        from humar_edge.training.uniphd_step import OriginalStep

        return OriginalStep(network, short_tokenizer(encoder, TOKENS))
    texts: Any = LiveText(encoder, short_tokenizer(encoder, TOKENS)) if trained else TextCache(encoder, TOKENS)
    teacher = None
    if options["teacher"]:
        from humar_edge.training.distillation import load_teacher

        teacher = load_teacher(options["teacher"], device, options["teacher_weight"])
    return LightStep(network, texts, recipe.decoded, teacher, recipe.select_weight, recipe.attribute_weight)


def resume(trainer: Trainer, console: Console) -> None:
    """Continue the newest checkpoint of the run that can be read, if there is one."""
    last = trainer.output / "last"
    if trainer.is_main:
        checkpoint.clean(last)
    trainer.accelerator.wait_for_everyone()
    found = checkpoint.candidates(last)
    for number, path in enumerate(found):
        try:
            checkpoint.verify(path)
        except CheckpointError as error:
            console.print(f"passing over a damaged checkpoint: {error}")
            if number == len(found) - 1:
                raise
            continue
        trainer.resume(path)
        console.print(f"continuing {path} at step {trainer.step}")
        return


class Report:
    """After each step: shows it, and validates now and then."""

    def __init__(self, display: Display | None, validator: Validator, every: int) -> None:
        self.display, self.validator, self.every = display, validator, every

    def __call__(self, trainer: Trainer, parts: dict[str, float]) -> None:
        """In every process; only the first one shows and validates."""
        if self.display is not None:
            self.display.step(trainer.step, trainer.progress(), trainer.elapsed, parts)
        if self.every and trainer.step % self.every == 0:
            if self.display is not None:
                self.show(trainer, self.validator.validate(trainer))
                self.warn(trainer)
            trainer.accelerator.wait_for_everyone()

    def show(self, trainer: Trainer, summary: dict[str, Any] | None) -> None:
        """Print and record a validation."""
        if summary is None or self.display is None:
            return
        figures = figures_of(summary)
        self.display.record({"step": trainer.step, "val": summary})
        self.display.scalars("val", figures, trainer.step)
        self.display.print("[bold]validation[/] " + " ".join(f"{name} {value:.3f}" for name, value in figures.items()))

    def warn(self, trainer: Trainer) -> None:
        """Say how many pictures could not be used so far."""
        if self.display is not None and trainer.stream is not None and trainer.stream.broken:
            counts = ", ".join(f"{reason}: {count}" for reason, count in trainer.stream.broken.items())
            self.display.print(f"passed over: {counts}")


@quick_math()
def train(**options: Any) -> str | None:
    """Run `humar-edge train`; see its help for the options.

    Returns:
        Name of the signal that ended the run early (the state is saved), None when it is complete.
    """
    check(options)
    mix: dict[str, Any] = prompt_mix(options["prompt_mix"])
    if options["threads"]:
        torch.set_num_threads(options["threads"])
    parts = {key: options[key] for key in ("transformer_type", "text_encoder_type", "backbone")}
    combo = resolve(options["combo"], **parts)
    trained = is_trained(combo.text_encoder_type, combo.transformer_type, options["train_text"])
    precision = precision_of(options, default_precision(options["device"]))
    accelerator = open_accelerator(precision, options["device"])
    console = Console(width=200, soft_wrap=True, quiet=not accelerator.is_main_process)
    torch.manual_seed(options["seed"])

    attributes, entries = join_tables(open_indices(options["folders"], "train", console))
    _, val = join_tables(open_indices(options["folders"], "val", console))
    encoder, stored = _encoder(options, combo.text_encoder_type, entries)
    original = combo.transformer_type == "original"
    # the checkpoint holds every encoder that cannot be had again by its name alone
    inside = trained or original or stored or options["text_source"] is not None
    count = len(attributes) if options["attribute_weight"] != 0 else 0
    network = _network(options, combo, encoder, trained, count, inside=inside)
    if options["init"]:
        _take(network, options["init"])
    counted = {id(p): p.numel() for module in (network, encoder) for p in module.parameters()}
    millions = sum(counted.values()) / 1e6
    groups = group_by_image(entries)
    processes = accelerator.num_processes
    plan, recipe = _recipe(options, combo.transformer_type, millions, len(groups), processes, precision)
    if recipe.dropout and combo.transformer_type != "original":
        for module in network.transformer.text.modules():
            if isinstance(module, nn.Dropout):
                module.p = recipe.dropout  # known only now that the parameters are counted
    network.to(accelerator.device).to(memory_format=torch.channels_last)
    encoder.to(accelerator.device)

    prompts = options["prompts"] or (ORIGINAL_PROMPTS if original else LIGHT_PROMPTS)
    extras = {
        key: options[key] for key in ("paste", "foreign", "negatives", "augmentation") if options[key] is not None
    }
    sampling = SampleOptions(size=options["imgsz"], prompts=prompts, **mix, **extras)
    maker = SampleMaker(groups, sampling, list_pictures(options["fillers"]))
    state = describe(options["combo"], combo, options["imgsz"], TOKENS)
    if inside:
        state["text_encoder"] = encoder.description()
    module = _module(options, network, encoder, trained, recipe, accelerator.device)
    module.fixed_backbone = state["fixed_backbone"] = _fixed_backbone(options)
    trainer = Trainer(
        network,
        getattr(module, "texts", None),
        maker,
        recipe,
        options["output"],
        state,
        accelerator=accelerator,
        module=module,
    )
    if not (options["init"] or trained or original or stored):
        whiten(network.transformer.text, module.texts, [entry.caption for entry in entries], options["seed"])
        trainer.average = MovingAverage(trainer.network, recipe.average)
    if options["init"]:
        trainer.average = MovingAverage(trainer.network, recipe.average)
    if options["resume"]:
        resume(trainer, console)
    if unfolded := trainer.unfold_norms():
        console.print(f"{unfolded} folded norms got statistics of {PICTURES} pictures")
    console.print(_summary(options, plan, recipe, millions, accelerator, len(groups), len(entries)), highlight=False)
    outside = None if inside else encoder
    return _run(trainer, Validator(val, options["val_limit"], options["imgsz"], TOKENS, outside), options, console)


def _summary(
    options: dict[str, Any],
    plan: str,
    recipe: Recipe,
    millions: float,
    machine: Accelerator,
    pictures: int,
    prompts: int,
) -> str:
    memory = gpu_memory_gb(options["device"])
    where = f"{machine.num_processes} x {machine.device}" + (f" of {memory:.1f} GB" if memory else "")
    whole = recipe.batch * recipe.accumulate * machine.num_processes
    return (
        f"{options['combo']}: {millions:.2f}M parameters with the text encoder, recipe {plan} ({PLANS[plan].about})\n"
        f"{pictures} pictures, {prompts} prompts; {recipe.steps} steps of {whole} pictures "
        f"(batch {recipe.batch} x {recipe.accumulate} passes x {machine.num_processes} processes), "
        f"rate {recipe.rate:g}, backbone {recipe.backbone_rate:g}, warm-up {recipe.warmup}, "
        f"{recipe.precision}, on {where}"
    )


def _run(trainer: Trainer, validator: Validator, options: dict[str, Any], console: Console) -> str | None:
    best = trainer.state.get("best")
    validator.best = best["quality"] if best else None
    if not trainer.is_main:
        trainer.run(Report(None, validator, options["val_every"]))
        trainer.accelerator.wait_for_everyone()
        return trainer.stopped
    options["output"].mkdir(parents=True, exist_ok=True)
    with Display(options["output"], console, tensorboard=options["tensorboard"]) as display:
        report = Report(display, validator, options["val_every"])
        path = trainer.run(report)
        report.warn(trainer)
        if trainer.stopped is None and (found := validator.finish(trainer)) is not None:
            report.show(trainer, found[0])
            display.print(found[1])
    trainer.accelerator.wait_for_everyone()
    if trainer.stopped is not None:
        console.print(f"{trainer.stopped}: stopped at step {trainer.step}; saved {path}; the same command continues")
        return trainer.stopped
    console.print(
        f"trained {trainer.step} steps; next: humar-edge export --combo {options['combo']} --checkpoint {path}"
    )
    return None
