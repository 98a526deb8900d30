"""The evaluation loop: pictures are read once for all their captions, broken ones are counted and skipped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from humar_edge.data.refhuman import Entry, read_image
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
        elif frame.shape[:2] != (entry.height, entry.width):
            skipped["picture of another size than annotated"] += 1
        else:
            evaluator.update(entry, predict_entry(predictor, entry, frame, prompt))
        if on_step is not None:
            on_step()
    return skipped
