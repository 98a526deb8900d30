"""The evaluation loop: pictures are read once for all their captions, broken ones are counted and skipped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from humar_edge.data.entries import Entry
from humar_edge.data.refhuman import read_image
from humar_edge.errors import DataError
from humar_edge.evaluation.evaluator import Evaluator
from humar_edge.evaluation.predictors import FramePredictor, predict_entry


def choose_entries(entries: Sequence[Entry], prompt: str, limit: int | None = None, seed: int = 0) -> list[Entry]:
    """Entries that can be prompted so, and of them a random sample in the order of the file.

    Args:
        entries: all entries.
        prompt: `text`, `point` or `scribble`; the last two need a scribble, which absent people do not have.
        limit: size of the sample, None for all.
        seed: of the sample.

    Raises:
        DataError: no entry can be prompted so.
    """
    usable = [entry for entry in entries if prompt == "text" or entry.scribble is not None]
    if not usable:
        raise DataError(f"no entry can be prompted with a {prompt}: none has a scribble")
    if limit is None or limit >= len(usable):
        return usable
    chosen = np.sort(np.random.default_rng(seed).choice(len(usable), limit, replace=False))
    return [usable[index] for index in chosen]


def evaluate(
    predictor: FramePredictor,
    entries: Sequence[Entry],
    evaluator: Evaluator,
    prompt: str = "text",
    on_step: Callable[[], None] | None = None,
) -> Counter[str]:
    """Predict every entry and update the evaluator.

    Args:
        predictor: the model.
        entries: what to predict; entries of one picture should follow each other.
        evaluator: gathers the results.
        prompt: `text`, `point` or `scribble`.
        on_step: called after every entry.

    Returns:
        Reason -> number of entries that could not be evaluated.
    """
    skipped: Counter[str] = Counter()
    path, frame = None, np.empty(0)
    for entry in entries:
        if entry.image_path != path:
            path = entry.image_path
            try:
                frame = read_image(path)
            except DataError:
                frame = np.empty(0)
        if not frame.size:
            skipped["unreadable picture"] += 1
        elif not entry.fits(frame):
            skipped["picture of another size than annotated"] += 1
        else:
            evaluator.update(entry, predict_entry(predictor, entry, frame, prompt))
        if on_step is not None:
            on_step()
    return skipped


def reasons(skipped: Counter[str]) -> str:
    """What `evaluate` returned, in words."""
    return ", ".join(f"{count} {reason}" for reason, count in skipped.most_common())


def require_some(entries: Sequence[Entry], skipped: Counter[str]) -> None:
    """Fail where nothing was evaluated.

    Raises:
        DataError: `skipped`, which `evaluate` returned, is all of the entries.
    """
    if skipped.total() >= len(entries):
        raise DataError(
            f"none of the {len(entries)} entries could be used ({reasons(skipped)}); run: humar-edge data check DIR"
        )
