"""A text encoder learns what another one, with its projection, makes of captions."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from humar_edge.data.captions import mirror, paraphrase
from humar_edge.errors import CheckpointError
from humar_edge.models.prompting import TextProjection
from humar_edge.models.text import TextEncoder
from humar_edge.models.text.encoder import TransformerTextEncoder
from humar_edge.training import checkpoint
from humar_edge.training.average import MovingAverage
from humar_edge.training.recipes import Recipe
from humar_edge.training.schedule import schedule
from humar_edge.training.signals import StopRequest
from humar_edge.training.text_cache import short_tokenizer

NAMES = ("words", "sentence")
ALTERED, STRANGE = 0.3, 0.15
"""Shares of captions in which words are replaced, and of captions that are made of any words of the vocabulary."""


class Captions:
    """Endless captions: those of the data in other words, with other words in them, and any words at all.

    The last two keep words that the data never say from meaning something arbitrary.

    Args:
        captions: Of the data.
        vocabulary: Pieces of the teacher's tokenizer.
        seed: Of the draws.
    """

    def __init__(self, captions: Sequence[str], vocabulary: Sequence[str], seed: int) -> None:
        self.captions = sorted(set(captions))
        self.said = sorted({word for caption in self.captions for word in re.findall(r"[\w'-]+", caption.lower())})
        plain = {piece.lstrip("\u0120\u2581") for piece in vocabulary}
        self.any = sorted(word for word in plain if len(word) > 2 and word.isascii() and word.isalpha()) or self.said
        self.seed = seed

    def batch(self, number: int, size: int) -> list[str]:
        """Captions of a batch; its number determines them."""
        rng = np.random.default_rng([self.seed, number])
        return [self._one(rng) for _ in range(size)]

    def _word(self, rng: np.random.Generator) -> str:
        words = self.said if rng.random() < 0.5 else self.any
        return words[int(rng.integers(len(words)))]

    def _one(self, rng: np.random.Generator) -> str:
        roll = rng.random()
        if roll < STRANGE:
            return " ".join(self._word(rng) for _ in range(int(rng.integers(1, 7))))
        caption = self.captions[int(rng.integers(len(self.captions)))]
        if rng.random() < 0.5:
            caption = paraphrase(mirror(caption) if rng.random() < 0.5 else caption, rng)
        if roll > 1 - ALTERED:
            words = caption.split()
            for _ in range(int(rng.integers(1, 3))):
                words[int(rng.integers(len(words)))] = self._word(rng)
            caption = " ".join(words)
        return caption


def alignment(ours: Sequence[Any], theirs: Sequence[Any]) -> Tensor:
    """Which tokens of one tokenizer are the same text as those of another: float32 [B,T,S], rows sum to 1.

    Args:
        ours: B encodings of a `tokenizers.Tokenizer`, each of T tokens.
        theirs: The same captions, each of S tokens.

    A token without text of its own (a special one) belongs to the other's first or last token.
    """
    a, b = (np.array([encoding.offsets for encoding in side]) for side in (ours, theirs))
    start = np.maximum(a[:, :, None, 0], b[:, None, :, 0])
    shared = np.clip(np.minimum(a[:, :, None, 1], b[:, None, :, 1]) - start, 0, None).astype(np.float32)
    for row, (one, other) in enumerate(zip(ours, theirs, strict=True)):
        last = sum(other.attention_mask) - 1
        for token in np.nonzero(shared[row].sum(1) == 0)[0]:
            shared[row, token, 0 if token == 0 else last] = 1
        if one.ids == other.ids:
            shared[row] = np.eye(len(one.ids), dtype=np.float32)
    return torch.from_numpy(shared / shared.sum(2, keepdims=True))


class Pupil(nn.Module):
    """A text encoder with its projection."""

    def __init__(self, encoder: TextEncoder, projection: TextProjection) -> None:
        super().__init__()
        self.encoder, self.projection = encoder, projection

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Token ids and mask, int64 [N,T] -> projected words [N,T,D] and sentences [N,D]."""
        words, sentence = self.encoder(ids, mask)
        tokens, whole = self.projection(words, sentence)
        return tokens, whole


def closeness(ours: Tensor, theirs: Tensor) -> Tensor:
    """Mean over rows [M,D] of the squared difference over the mean variance, and of 1 - cosine."""
    scale = theirs.var(0).mean() + 1e-6
    return (ours - theirs).square().mean() / scale + 1 - F.cosine_similarity(ours, theirs, dim=1).mean()


def _tensors(encoded: Sequence[Any], device: torch.device) -> tuple[Tensor, Tensor]:
    """Token ids and mask, int64 [N,T]."""
    ids = torch.tensor([encoding.ids for encoding in encoded], device=device)
    return ids, torch.tensor([encoding.attention_mask for encoding in encoded], device=device)


class TextLesson:
    """Losses of a pupil against its teacher on captions."""

    def __init__(self, pupil: Pupil, teacher: Pupil, length: int) -> None:
        self.pupil, self.teacher = pupil, teacher
        self.tokenizers = [short_tokenizer(side.encoder, length) for side in (pupil, teacher)]

    def answers(self, captions: list[str]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The pupil's real words [M,D], what the teacher has in their places, and both sentences [N,D]."""
        ours, theirs = (tokenizer.encode_batch(captions) for tokenizer in self.tokenizers)
        device = next(self.pupil.parameters()).device
        ids, mask = _tensors(ours, device)
        with torch.no_grad():
            words, wanted = self.teacher(*_tensors(theirs, device))
            words = alignment(ours, theirs).to(device) @ words
        said, sentence = self.pupil(ids, mask)
        real = mask.bool()
        return said[real], words[real], sentence, wanted

    def losses(self, captions: list[str]) -> dict[str, Tensor]:
        """Parts of the loss."""
        said, words, sentence, wanted = self.answers(captions)
        return dict(zip(NAMES, (closeness(said, words), closeness(sentence, wanted)), strict=True))


@torch.no_grad()
def likeness(lesson: TextLesson, captions: Sequence[str], limit: int = 512) -> dict[str, float]:
    """Mean cosine of the pupil's words and sentences with the teacher's, over the first captions in order."""
    found: dict[str, list[Tensor]] = {name: [] for name in NAMES}
    chosen = sorted(set(captions))[:limit]
    for start in range(0, len(chosen), 64):
        said, words, sentence, wanted = lesson.answers(chosen[start : start + 64])
        found["words"].append(F.cosine_similarity(said, words, dim=1))
        found["sentence"].append(F.cosine_similarity(sentence, wanted, dim=1))
    return {name: float(torch.cat(values).mean()) for name, values in found.items() if values}


@torch.no_grad()
def inherit_embeddings(pupil: TextEncoder, teacher: TextEncoder) -> bool:
    """Start a random encoder from the teacher's embeddings, on their principal axes; only with the same vocabulary.

    Returns:
        Whether that was possible: both are BERTs with one vocabulary, and the pupil is not wider.
    """
    if not (isinstance(pupil, TransformerTextEncoder) and isinstance(teacher, TransformerTextEncoder)):
        return False
    ours, theirs = (getattr(side.text_backbone, "embeddings", None) for side in (pupil, teacher))
    tables = ("word_embeddings", "position_embeddings", "token_type_embeddings")
    fits = all(hasattr(side, table) for side in (ours, theirs) for table in tables)
    if not fits or pupil.dim > teacher.dim or pupil.tokenizer.get_vocab() != teacher.tokenizer.get_vocab():
        return False
    words = theirs.word_embeddings.weight.double()  # type: ignore[union-attr]
    mean = words.mean(0)
    _, axes = torch.linalg.eigh((words - mean).T @ (words - mean))
    axes = axes.flip(1)[:, : pupil.dim]
    for table in tables:
        source, target = (getattr(side, table).weight for side in (theirs, ours))
        rows = min(len(source), len(target))
        shifted = source[:rows].double() - (mean if table == tables[0] else 0)
        target[:rows] = (shifted @ axes).to(target)
    return True


def learn_text(
    lesson: TextLesson,
    captions: Captions,
    recipe: Recipe,
    output: Path,
    state: dict[str, Any],
    report: Callable[[int, float, float, dict[str, float]], None],
    *,
    resume: bool = True,
) -> str | None:
    """Train the pupil, writing checkpoints to `output`; the pupil ends with averaged weights.

    Args:
        lesson: Pupil and teacher.
        captions: What they read.
        recipe: `batch` captions a step, `text_rate`, length.
        output: Checkpoint folder.
        state: What to store in the checkpoint.
        report: Called after each step with the step, the share that is done, seconds, and the parts of the loss.
        resume: Continue `output` if it exists.

    Returns:
        Name of the signal that ended it early (the state is saved), else None.
    """
    pupil = lesson.pupil.eval().requires_grad_(True)  # no dropout
    groups = [
        {"params": [p for p in pupil.parameters() if p.dim() > 1], "weight_decay": recipe.decay},
        {"params": [p for p in pupil.parameters() if p.dim() <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=recipe.text_rate, betas=(0.9, 0.98))
    average, step, elapsed = MovingAverage(pupil, recipe.average), 0, 0.0
    if resume and checkpoint.candidates(output):
        step, elapsed = _continue(pupil, average, optimizer, output)

    def progress() -> float:
        return max(step / recipe.steps, elapsed / 60 / recipe.minutes)

    def save() -> None:
        checkpoint.save(output, pupil, average.tensors, optimizer, state | {"step": step, "elapsed": elapsed})

    before, begin, stopped = elapsed, time.monotonic(), None
    with StopRequest() as request:
        while progress() < 1 and stopped is None:
            for group in optimizer.param_groups:
                group["lr"] = recipe.text_rate * schedule(progress(), step, recipe)
            parts = lesson.losses(captions.batch(step, recipe.batch))
            optimizer.zero_grad(set_to_none=True)
            loss = torch.stack(list(parts.values())).sum()
            loss.backward()
            nn.utils.clip_grad_norm_(pupil.parameters(), recipe.clip)
            optimizer.step()
            average.update(pupil, step)
            step, elapsed, stopped = step + 1, before + time.monotonic() - begin, request.name
            values = {name: float(value.detach()) for name, value in parts.items()}
            report(step, progress(), elapsed, values | {"loss": float(loss.detach())})
            if step % recipe.save_every == 0:
                save()
    save()
    pupil.load_state_dict(average.tensors)
    pupil.requires_grad_(False)
    return stopped


def _continue(pupil: Pupil, average: MovingAverage, optimizer: Any, output: Path) -> tuple[int, float]:
    state = checkpoint.read_state(output)
    try:
        pupil.load_state_dict(checkpoint.read_weights(output, checkpoint.WEIGHTS))
        optimizer.load_state_dict(checkpoint.read_optimizer(output))
    except (RuntimeError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"{output} is of another text encoder ({checkpoint.reason(error)}); give another --output"
        ) from error
    average.tensors = checkpoint.read_weights(output)
    return int(state["step"]), float(state["elapsed"])
