"""One training run from command-line options: data, network, loop, validation, progress."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from humar_edge.combos import resolve
from humar_edge.data.refhuman import Entry, RefHumanIndex, available_splits
from humar_edge.errors import ConfigError, DataError
from humar_edge.evaluation.evaluator import Evaluator
from humar_edge.evaluation.predictors import TorchPredictor
from humar_edge.evaluation.run import choose_entries, evaluate
from humar_edge.models.network import HumarNet
from humar_edge.models.text import build_text_encoder
from humar_edge.training import checkpoint
from humar_edge.training.average import MovingAverage
from humar_edge.training.build import STEM, build_network, describe, freeze, quick_math
from humar_edge.training.loop import Recipe, Trainer, averaged
from humar_edge.training.presence import calibrate
from humar_edge.training.samples import SampleMaker, SampleOptions, group_by_image
from humar_edge.training.text_cache import TextCache

TOKENS = 32


def _entries(folders: Sequence[Path], split: str) -> list[Entry]:
    found: list[Entry] = []
    for folder in folders:
        if split in available_splits(folder) or split == "train":
            found.extend(RefHumanIndex.load(folder, split))
    return found


def _pictures(folder: Path | None) -> list[Path]:
    if folder is None:
        return []
    found = sorted(p for p in folder.glob("*") if p.suffix.lower() in {".jpg", ".jpeg", ".png", ".webp"})
    if not found:
        raise DataError(f"{folder} holds no pictures (jpg, png, webp)")
    return found


class Progress:
    """Prints a line every few steps, validates now and then, and keeps `log.jsonl`."""

    def __init__(self, options: dict[str, Any], console: Console, val: Sequence[Entry], encoder: Any) -> None:
        self.console, self.encoder = console, encoder
        self.every, self.limit, self.size = options["val_every"], options["val_limit"], options["imgsz"]
        self.log = options["output"] / "log.jsonl"
        self.val = choose_entries(val, "text", self.limit) if val else []
        self.smooth: dict[str, float] = {}
        self.shown = time.monotonic()

    def write(self, record: dict[str, Any]) -> None:
        """Append a record to the log."""
        with self.log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def __call__(self, trainer: Trainer, parts: dict[str, float]) -> None:
        """After each step."""
        for name, value in parts.items():
            self.smooth[name] = self.smooth.get(name, value) * 0.97 + value * 0.03
        if trainer.step % 20 == 0:
            done = trainer.progress()
            left = trainer.elapsed * (1 - done) / max(done, 1e-9) / 60
            shown = " ".join(f"{name} {value:.3f}" for name, value in self.smooth.items())
            self.console.print(f"step {trainer.step} {done:.1%} left {left:.0f} min  {shown}", highlight=False)
            self.write({"step": trainer.step, "elapsed": round(trainer.elapsed, 1), **self.smooth})
        if self.every and trainer.step % self.every == 0:
            self.validate(trainer)

    def validate(self, trainer: Trainer) -> None:
        """Metrics of the averaged weights on the validation sample."""
        if not self.val:
            return
        network = trainer.network
        kept = {key: value.clone() for key, value in network.state_dict().items()}
        network.load_state_dict(trainer.average.tensors)
        network.text_encoder = self.encoder
        summary = self.measure(network.eval())
        network.text_encoder = None
        network.load_state_dict(kept)
        network.train()
        network.backbone.eval()
        self.write({"step": trainer.step, "val": summary})

    def measure(self, network: HumarNet) -> dict[str, Any]:
        """Metrics of a network with its text encoder on the validation sample; prints the main ones."""
        evaluator = Evaluator()
        evaluate(TorchPredictor(network, (self.size, self.size), TOKENS), self.val, evaluator)
        summary = evaluator.summary()
        overall, presence = summary["overall"], summary.get("presence") or {}
        figures = {**{k: v for k, v in overall.items() if isinstance(v, float)}, "auroc": presence.get("auroc")}
        shown = " ".join(f"{name} {value:.3f}" for name, value in figures.items() if value is not None)
        self.console.print(f"[bold]validation[/] {shown}", highlight=False)
        return summary


def finish(trainer: Trainer, progress: Progress) -> None:
    """Calibrate the presence score on held-out prompts, measure the result, and write both to the checkpoint."""
    if not progress.val:
        return
    network = averaged(trainer.network, trainer.average.tensors)
    network.text_encoder = progress.encoder
    size = (progress.size, progress.size)
    if {entry.absent for entry in progress.val} == {True, False}:
        fit = calibrate(network, size, progress.val, TOKENS)
        trainer.state["thresholds"] = {"score": fit.threshold}
        progress.console.print(f"presence: scale {fit.scale:.3f}, shift {fit.shift:.3f}, threshold {fit.threshold:.3f}")
    trainer.average.tensors = {k: v for k, v in network.state_dict().items() if not k.startswith("text_encoder.")}
    trainer.state["metrics"] = {"validation": progress.measure(network)}
    network.text_encoder = None
    trainer.save()


def train(**options: Any) -> None:
    """Run `humar-edge train`; see its help for the options."""
    quick_math()
    if options["threads"]:
        torch.set_num_threads(options["threads"])
    if options["imgsz"] % 32 or options["imgsz"] <= 0:
        raise ConfigError(f"--imgsz {options['imgsz']} is not divisible by 32")
    torch.manual_seed(options["seed"])
    console = Console(width=200, soft_wrap=True)
    parts = {key: options[key] for key in ("transformer_type", "text_encoder_type", "backbone")}
    combo = resolve(options["combo"], **parts)
    device = torch.device(options["device"] or ("cuda" if torch.cuda.is_available() else "cpu"))
    output: Path = options["output"]
    output.mkdir(parents=True, exist_ok=True)
    entries, val = _entries(options["folders"], "train"), _entries(options["folders"], "val")
    encoder = build_text_encoder(combo.text_encoder_type)
    network: HumarNet = build_network(
        combo, None, encoder.dim, pretrained=options["pretrained"], weights=options["backbone_weights"]
    )
    if options["init"]:
        network.load_state_dict(checkpoint.read_weights(options["init"]))
    if options["freeze_stem"]:
        freeze(network.backbone, STEM)
    network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    groups = group_by_image(entries)
    maker = SampleMaker(
        groups, SampleOptions(size=options["imgsz"], prompts=options["prompts"]), _pictures(options["fillers"])
    )
    recipe = Recipe(**{name: options[name] for name in Recipe.__dataclass_fields__ if name in options})
    state = describe(options["combo"], combo, options["imgsz"], TOKENS)
    trainer = Trainer(network, TextCache(encoder, TOKENS), maker, recipe, output, state)
    if options["init"]:
        trainer.average = MovingAverage(network, recipe.average)
    last = output / "last"
    if options["resume"] and last.exists():
        trainer.resume(last)
        console.print(f"continuing {last} at step {trainer.step}")
    millions = sum(p.numel() for p in network.transformer.parameters()) / 1e6
    console.print(
        f"{options['combo']}: transformer {millions:.2f}M, {len(groups)} pictures, {len(entries)} prompts, on {device}"
    )
    progress = Progress(options, console, val, encoder)
    try:
        path = trainer.run(progress)
    except KeyboardInterrupt:
        path = trainer.save()
        console.print(f"stopped at step {trainer.step}; saved {path}; the same command continues")
        return
    progress.validate(trainer)
    console.print(
        f"trained {trainer.step} steps; next: humar-edge export --combo {options['combo']} --checkpoint {path}"
    )
