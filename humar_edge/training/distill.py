"""`humar-edge distill`: a trained network's student with other encoders, in three stages that can be continued."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import nn

from humar_edge.combos import resolve
from humar_edge.data.entries import Entry
from humar_edge.errors import ConfigError, DataError
from humar_edge.models.network import HumarNet
from humar_edge.training import checkpoint
from humar_edge.training.attributes import join_tables
from humar_edge.training.build import quick_math
from humar_edge.training.display import Display
from humar_edge.training.distillation import LightTeacher
from humar_edge.training.encoders import Pair, PyramidStep, pair
from humar_edge.training.loop import Trainer
from humar_edge.training.machine import default_precision, open_accelerator
from humar_edge.training.options import check
from humar_edge.training.recipes import Recipe
from humar_edge.training.samples import SampleMaker, SampleOptions, group_by_image
from humar_edge.training.sources import list_pictures, open_indices
from humar_edge.training.step import LightStep
from humar_edge.training.text_cache import TextCache
from humar_edge.training.text_distillation import (
    Captions,
    Pupil,
    TextLesson,
    inherit_embeddings,
    learn_text,
    likeness,
)
from humar_edge.training.validation import Validator, figures_of

SEEING = ("backbone.", "transformer.neck.")
"""Parts of the student that learn from pictures alone."""
RECIPES = {
    "text": Recipe(batch=64, steps=20_000, text_rate=5e-4, decay=0.01, warmup=100, clip=1.0, average=0.995),
    "vision": Recipe(rate=2e-3, backbone_rate=1e-3, decay=0.02, warmup=100, average=0.995),
    "joint": Recipe(rate=3e-4, backbone_rate=5e-4, decay=0.02, warmup=30, average=0.99, decoded=8, select_weight=2.5),
}
"""Stages in their order: the text encoder alone, the backbone and neck alone, and all that sees, with prompts."""


@dataclass
class Run:
    """What the stages share.

    Attributes:
        pair: Teacher and student.
        entries: Training entries.
        options: Of the command.
        accelerator: Device and precision.
        display: Shows progress and records it.
    """

    pair: Pair
    entries: list[Entry]
    options: dict[str, Any]
    accelerator: Any
    display: Display

    def recipe(self, stage: str) -> Recipe:
        """The stage's recipe with the user's changes."""
        changes = {name: self.options[f"{stage}_{name}"] for name in ("minutes", "steps")}
        if stage != "text":
            changes |= {name: self.options[name] for name in ("batch", "workers")}
            changes["precision"] = self.options["precision"]
        changes |= {name: self.options[name] for name in ("save_every", "seed")}
        return replace(RECIPES[stage], **{name: value for name, value in changes.items() if value is not None})


@quick_math()
def distill(**options: Any) -> str | None:
    """Run `humar-edge distill`; see its help for the options.

    Returns:
        Name of the signal that ended the run early (the state is saved), None when it is complete.
    """
    options["imgsz"] = options["imgsz"] or checkpoint.read_state(options["teacher"])["input_size"][0]
    check(options)
    if options["threads"]:
        torch.set_num_threads(options["threads"])
    options["precision"] = options["precision"] or default_precision(options["device"])
    accelerator = open_accelerator(options["precision"], options["device"])
    if accelerator.num_processes > 1:
        raise ConfigError("distill runs in one process; use train --init and --teacher on several GPUs")
    console = Console(width=200, soft_wrap=True)
    torch.manual_seed(options["seed"])
    parts = {key: options[key] for key in ("transformer_type", "text_encoder_type", "backbone")}
    combo = resolve(options["combo"], **parts)
    _, entries = join_tables(open_indices(options["folders"], "train", console))
    _, val = join_tables(open_indices(options["folders"], "val", console))
    if not entries:
        raise DataError("there is nothing to learn from in the data")
    found = pair(
        options["teacher"],
        options["combo"],
        combo,
        options["imgsz"],
        entries,
        text_source=options["text_source"],
        pretrained=options["pretrained"],
        weights=options["backbone_weights"],
        begun=checkpoint.candidates(options["output"] / "text") if options["resume"] else (),
    )
    found.state["taught_by"] = checkpoint.read_state(options["teacher"]).get("combo")
    for module in (found.teacher, found.student, found.encoder):
        module.to(accelerator.device)
    found.student.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    options["output"].mkdir(parents=True, exist_ok=True)
    with Display(options["output"], console, tensorboard=False) as display:
        run = Run(found, entries, options, accelerator, display)
        stopped = _text(run) if found.learns_text else None
        trainer: Trainer | None = None
        for stage in ("vision", "joint"):
            if stopped is None and _wanted(run, stage):
                trainer = _seeing(run, stage)
                stopped = trainer.stopped
        if stopped is not None:
            display.print(f"{stopped}: stopped and saved; the same command continues")
            return stopped
        if trainer is not None:
            _finish(run, trainer, val)
    last = options["output"] / "last"
    console.print(f"next: humar-edge export --combo {options['combo']} --checkpoint {last}")
    return None


def _text(run: Run) -> str | None:
    """The first stage; its result goes into the student."""
    pair, options, folder = run.pair, run.options, run.options["output"] / "text"
    if not (options["text_source"] or options["pretrained"]):
        inherit_embeddings(pair.encoder, pair.teacher.text_encoder)  # type: ignore[arg-type]
    pupil = Pupil(pair.encoder, pair.student.transformer.text)
    teacher = Pupil(pair.teacher.text_encoder, pair.teacher.transformer.text)  # type: ignore[arg-type]
    lesson = TextLesson(pupil, teacher, int(pair.state["token_length"]))
    said = [entry.caption for entry in run.entries]
    captions = Captions(said, list(lesson.tokenizers[1].get_vocab()), options["seed"])
    recipe = run.recipe("text")
    report = _reporter(run.display, "text")
    stopped = learn_text(lesson, captions, recipe, folder, pair.state, report, resume=options["resume"])
    near = " ".join(f"{name} {value:.3f}" for name, value in likeness(lesson, said).items())
    run.display.print(f"text: cosine with the teacher {near}")
    return stopped


def _learned(run: Run, stage: str) -> bool:
    """Whether a stage has something to learn."""
    return run.recipe(stage).minutes > 0 and (stage != "vision" or run.pair.learns_vision)


def _wanted(run: Run, stage: str) -> bool:
    """Whether a stage is asked for and not yet passed; that of vision writes a checkpoint in any case."""
    last = run.options["output"] / "last"
    begun = run.options["resume"] and checkpoint.candidates(last)
    passed = begun and checkpoint.read_state(last).get("stage") == "joint"
    return not passed if stage == "vision" else _learned(run, stage)


def _seeing(run: Run, stage: str) -> Trainer:
    """One of the stages that look at pictures."""
    pair, options, recipe = run.pair, run.options, run.recipe(stage)
    last = options["output"] / "last"
    begun = checkpoint.read_state(last).get("stage") if options["resume"] and checkpoint.candidates(last) else None
    if begun is not None and begun != stage:
        pair.student.load_state_dict(checkpoint.read_weights(last))
    module = _module(pair, stage, recipe)
    sampling = SampleOptions(
        size=options["imgsz"], prompts=options["prompts"], augmentation=options["augmentation"] or "mild"
    )
    maker = SampleMaker(group_by_image(run.entries), sampling, list_pictures(options["fillers"]))
    trainer = Trainer(
        pair.student,
        None,
        maker,
        recipe,
        options["output"],
        pair.state | {"stage": stage},
        accelerator=run.accelerator,
        module=module,
    )
    if begun == stage:
        _resume(trainer, last, pair.student, stage)
    if stage == "joint":
        trainer.unfold_norms()  # those behind the encoders, of a teacher that was unpacked
    if not _learned(run, stage):
        trainer.save()
        return trainer
    shown = _reporter(run.display, stage)
    trainer.run(lambda trainer, parts: shown(trainer.step, trainer.progress(), trainer.elapsed, parts))
    if trainer.stopped is None:
        pair.student.load_state_dict(trainer.average.tensors)
    return trainer


def _resume(trainer: Trainer, last: Path, student: HumarNet, stage: str) -> None:
    """Continue a stage; that of the encoders alone takes all else anew, from a teacher that may have learned more."""
    kept = {key: value.clone() for key, value in student.state_dict().items() if not key.startswith(SEEING)}
    trainer.resume(last)
    if stage == "vision":
        student.load_state_dict(kept, strict=False)
        trainer.average.tensors |= kept


def _module(pair: Pair, stage: str, recipe: Recipe) -> nn.Module:
    if stage == "vision":
        return PyramidStep(pair.student, pair.teacher)
    pair.student.requires_grad_(True)
    length = int(pair.state["token_length"])
    texts = TextCache(pair.encoder, length)  # freezes the text encoder again
    teacher = LightTeacher(pair.teacher, token_length=length)
    step = LightStep(pair.student, texts, recipe.decoded, teacher, recipe.select_weight)
    step.fixed_backbone = False
    return step


def _reporter(display: Display, stage: str) -> Callable[[int, float, float, dict[str, float]], None]:
    display.smooth.clear()
    display.began = None
    display.print(f"[bold]{stage}[/]")

    def report(step: int, progress: float, elapsed: float, parts: dict[str, float]) -> None:
        display.step(step, progress, elapsed, {"data_wait": 0.0} | parts)

    return report


def _finish(run: Run, trainer: Trainer, val: list[Entry]) -> None:
    """Calibrate and measure the student, beside its teacher."""
    pair, options = run.pair, run.options
    outside = None if pair.student.text_encoder is not None else pair.encoder
    length = int(pair.state["token_length"])
    validator = Validator(val, options["val_limit"], options["imgsz"], length, outside)
    found = validator.finish(trainer)
    if found is None:
        return
    run.display.print(found[1])
    for name, summary in (("teacher", validator.measure(pair.teacher)), ("student", found[0])):
        figures = figures_of(summary)
        run.display.record({"stage": name, "val": summary})
        run.display.print(f"{name}: " + " ".join(f"{key} {value:.3f}" for key, value in figures.items()))
