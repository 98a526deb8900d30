"""Validation during a run, on the averaged weights and by the same code as `humar-edge val`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from humar_edge.data.entries import Entry
from humar_edge.errors import DataError
from humar_edge.evaluation.evaluator import Evaluator
from humar_edge.evaluation.predictors import TorchPredictor
from humar_edge.evaluation.run import choose_entries, evaluate, reasons
from humar_edge.training.loop import Trainer, averaged
from humar_edge.training.presence import calibrate

FIGURES: dict[str, tuple[str, ...]] = {
    "box_Acc@0.5": ("overall", "box_Acc@0.5"),
    "mean_oks": ("overall", "mean_oks"),
    "mIoU": ("overall", "mask", "mIoU"),
    "PCKh@0.5": ("overall", "PCKh@0.5"),
    "AUROC": ("presence", "AUROC"),
}
"""Shown figure -> its place in `Evaluator.summary`."""
BEST_BY = ("box_Acc@0.5", "mean_oks", "mIoU")
"""The best checkpoint has the highest mean of these."""


def figures_of(summary: dict[str, Any]) -> dict[str, float]:
    """The figures of `FIGURES` that a summary has."""
    found = {}
    for name, keys in FIGURES.items():
        value: Any = summary
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        if isinstance(value, int | float):
            found[name] = float(value)
    return found


def quality(figures: dict[str, float]) -> float | None:
    """Mean of `BEST_BY`, of those that were measured."""
    values = [figures[name] for name in BEST_BY if name in figures]
    return sum(values) / len(values) if values else None


class Validator:
    """Measures the averaged weights on a sample of the validation split.

    Args:
        entries: The split; may be empty, then nothing is measured.
        limit: Entries in the sample.
        size: Side of the canvas.
        token_length: Tokens per prompt.
        encoder: The frozen text encoder; None where the network has its own.
    """

    def __init__(self, entries: Sequence[Entry], limit: int, size: int, token_length: int, encoder: Any) -> None:
        self.entries = choose_entries(entries, "text", limit) if entries else []
        self.size, self.token_length, self.encoder = size, token_length, encoder
        self.best: float | None = None

    def measure(self, network: Any) -> dict[str, Any]:
        """Summary of a network in evaluation mode, with its text encoder, and `skipped`: reason -> entries left out."""
        evaluator = Evaluator()
        predictor = TorchPredictor(network, (self.size, self.size), self.token_length)
        skipped = evaluate(predictor, self.entries, evaluator)
        return evaluator.summary() | {"skipped": dict(skipped)}

    @contextmanager
    def _averaged(self, trainer: Trainer) -> Iterator[Any]:
        """The network with averaged weights and text encoder; its own weights and modes return afterwards."""
        network = trainer.network
        kept = {key: value.clone() for key, value in network.state_dict().items()}
        modes = {name: module.training for name, module in network.named_modules()}
        try:
            averaged(network, trainer.average.tensors)
            if self.encoder is not None:
                network.text_encoder = self.encoder.eval()
            yield network
        finally:
            if self.encoder is not None:
                network.text_encoder = None
            network.load_state_dict(kept)
            for name, module in network.named_modules():
                module.training = modes[name]

    def validate(self, trainer: Trainer) -> dict[str, Any] | None:
        """Summary for the averaged weights, None without a validation split; writes `best` when it is the best yet."""
        if not self.entries:
            return None
        with self._averaged(trainer) as network:
            summary = self.measure(network)
        value = quality(figures_of(summary))
        if value is not None and (self.best is None or value > self.best):
            self.best = value
            trainer.state["best"] = {"step": trainer.step, "quality": value}
            trainer.save_best({"validation": summary})
        return summary

    def finish(self, trainer: Trainer) -> tuple[dict[str, Any], str] | None:
        """Calibrate the presence score on the sample, measure the result, and write both to the last checkpoint.

        Returns:
            The summary, and what the calibration found and measuring left out; None without a validation split.
        """
        if not self.entries:
            return None
        told = "presence not calibrated (it needs captions of present and of absent people, and a light network)"
        with self._averaged(trainer) as network:
            both = {entry.absent for entry in self.entries} == {True, False}
            if both and hasattr(network.transformer, "score_scale"):
                with suppress(DataError):  # pictures of one kind cannot be used: `told` says so
                    fit = calibrate(network, (self.size, self.size), self.entries, self.token_length)
                    trainer.state["thresholds"] = {"score": fit.threshold}
                    told = f"presence: scale {fit.scale:.3f}, shift {fit.shift:.3f}, threshold {fit.threshold:.3f}"
            summary = self.measure(network)
            if summary["skipped"]:
                told += f"\nvalidation left out of {len(self.entries)} entries: {reasons(Counter(summary['skipped']))}"
            if self.encoder is not None:
                network.text_encoder = None
            final = {key: value.clone() for key, value in network.state_dict().items()}
        trainer.average.tensors = final
        trainer.state["metrics"] = {"validation": summary}
        trainer.save()
        return summary, told
