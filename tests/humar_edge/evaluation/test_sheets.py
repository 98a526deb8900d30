from __future__ import annotations

import numpy as np
import pytest
from refhuman_factory import annotation, image, nobody, write_split

from humar_edge.data.refhuman import RefHumanIndex
from humar_edge.evaluation.evaluator import Evaluator, Prediction
from humar_edge.evaluation.report import cases
from humar_edge.evaluation.sheets import (
    ANNOTATED,
    GAP,
    PREDICTED,
    TILE,
    caption_lines,
    contact_sheet,
    draw_outcome,
    figures_line,
)

BOX = (20, 10, 60, 110)


@pytest.fixture
def evaluator(tmp_path) -> Evaluator:
    images = [image(n, f"caption {n} with ünïcode", "a.png" if n < 3 else f"{n}.png") for n in range(1, 6)]
    people = [nobody(5) if n == 5 else annotation(n, BOX) for n in range(1, 6)]
    evaluator = Evaluator(keep_masks=True)
    for entry in RefHumanIndex.load(write_split(tmp_path, images, people)):
        shift = 3.0 * entry.id
        keypoints = entry.keypoints + np.array([shift, 0, 0])
        score = 0.2 if entry.id == 2 else 0.9
        evaluator.update(entry, Prediction(score, np.array(BOX) + shift, keypoints, entry.mask()))
    return evaluator


def test_cases_are_sorted_and_show_each_picture_once(evaluator):
    found = {title.split()[0]: [o.entry.id for o in outcomes] for title, outcomes in cases(evaluator).items()}
    assert found == {"Worst": [4, 3, 2], "Best": [1, 3, 4], "False": [5], "Missed": [2]}


def test_a_picture_shows_annotation_and_prediction(evaluator):
    picture = draw_outcome(evaluator.outcomes[0])
    assert picture.shape == (210, TILE, 3)
    for colour in (ANNOTATED, PREDICTED):
        assert (np.abs(picture.astype(int) - colour).max(2) < 12).any()
    nothing = draw_outcome(evaluator.outcomes[4])
    assert not (np.abs(nothing.astype(int) - ANNOTATED).max(2) < 12).any()


def test_a_sheet_has_a_tile_for_each(evaluator):
    sheet = contact_sheet(evaluator.outcomes, columns=3)
    assert sheet.dtype == np.uint8 and sheet.shape[1] == 3 * TILE + 2 * GAP and sheet.shape[0] > 2 * TILE
    assert figures_line(evaluator.outcomes[0]).startswith("score 0.90 OKS")
    assert figures_line(evaluator.outcomes[4]) == "nobody; score 0.90"


def test_predictions_far_outside_do_not_break_the_picture(evaluator):
    entry = evaluator.outcomes[0].entry
    outcome = evaluator.update(entry, Prediction(0.5, np.full(4, np.nan), np.full((17, 3), np.inf)))
    assert draw_outcome(outcome).shape == (210, TILE, 3)


def test_long_captions_are_wrapped_and_cut_at_words():
    assert caption_lines("a man in bläck") == ["a man in bl?ck"]
    first, second = caption_lines("the tall man " * 20)
    assert max(len(first), len(second)) <= 42 and second.endswith(" ...") and caption_lines("") == [""]
