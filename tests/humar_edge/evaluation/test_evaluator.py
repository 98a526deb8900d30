from __future__ import annotations

import numpy as np
import pytest
from refhuman_factory import annotation, image, nobody, write_split

from humar_edge.data.entries import Entry
from humar_edge.data.refhuman import RefHumanIndex
from humar_edge.evaluation.evaluator import Evaluator, Prediction, geometry_summary, latency_summary, size_of

pytest.importorskip("faster_coco_eval")


@pytest.fixture
def entries(tmp_path) -> list[Entry]:
    captions = ["the one in red", "man on the left", "the man in blue"]
    images = [image(number, caption) for number, caption in enumerate(captions, start=1)]
    people = [annotation(1, (20, 10, 60, 110)), annotation(2, (100, 40, 115, 70)), nobody(3)]
    return RefHumanIndex.load(write_split(tmp_path, images, people)).entries


def perfect(entry: Entry, score: float = 0.9, **changes: object) -> Prediction:
    return Prediction(**{"score": score, "box_xyxy": entry.box_xyxy, "keypoints": entry.keypoints, **changes})


def test_perfect_predictions(entries):
    evaluator = Evaluator()
    for entry in entries:
        evaluator.update(entry, perfect(entry, 0.1 if entry.absent else 0.9, mask=entry.mask(), inference_ms=3.0))
    summary = evaluator.summary()
    overall = summary["overall"]
    assert summary["entries"] == 3 and overall["entries"] == 2
    assert overall["pose"]["AP"] == overall["pose"]["AR"] == pytest.approx(1)
    assert overall["mean_oks"] == overall["PCKh@0.5"] == overall["box_Acc@0.5"] == pytest.approx(1)
    assert overall["PCKh_keypoints"] == 34
    assert overall["mask"]["oIoU"] == overall["mask"]["P@0.9"] == pytest.approx(1)
    assert summary["presence"]["AUROC"] == 1 and summary["presence"]["F1"]["f1"] == 1
    assert summary["by_size"]["small"]["entries"] == 1 and summary["by_size"]["medium"] is None
    assert summary["by_kind"]["colour"]["entries"] == 1 and summary["by_kind"]["position"]["AUROC"] is None
    assert summary["by_kind"]["colour"]["AUROC"] == 1
    assert summary["latency_ms"] == {"p50": 3, "p90": 3, "p99": 3, "mean": 3}


def test_geometry_counts_whatever_the_score(entries):
    evaluator = Evaluator()
    evaluator.update(entries[0], perfect(entries[0], score=0.01))
    summary = evaluator.summary()
    assert summary["overall"]["box_Acc@0.5"] == 1
    assert summary["overall"]["mask"] is None and summary["presence"] is None and summary["latency_ms"] is None


def test_box_accuracy_is_a_share_of_entries(entries):
    evaluator = Evaluator()
    # 40 x 100 against 40 x 50: exactly one half counts.
    evaluator.update(entries[0], perfect(entries[0], box_xyxy=np.array([20, 10, 60, 60])))
    evaluator.update(entries[1], perfect(entries[1], box_xyxy=np.array([0, 0, 5, 5])))
    assert evaluator.summary()["overall"]["box_Acc@0.5"] == 0.5
    assert evaluator.summary()["overall"]["mean_box_iou"] == pytest.approx(0.25)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_predictions_that_are_no_numbers_are_wrong(entries, bad):
    evaluator = Evaluator()
    keypoints, box = np.full((17, 3), bad), np.full(4, bad)
    outcome = evaluator.update(entries[0], Prediction(bad, box, keypoints))
    assert (outcome.score, outcome.oks, outcome.box_iou, outcome.pckh) == (0, 0, 0, (0, 17))
    assert evaluator.summary()["not_finite"] == 1


def test_wrong_shapes_are_errors(entries):
    with pytest.raises(ValueError, match="keypoints"):
        Evaluator().update(entries[0], perfect(entries[0], keypoints=np.zeros((16, 3))))
    with pytest.raises(ValueError, match="differ in size"):
        Evaluator().update(entries[0], perfect(entries[0], mask=np.zeros((3, 3), bool)))


def test_nothing_gives_no_figures():
    summary = Evaluator().summary()
    assert summary["entries"] == 0 and summary["overall"] is None and summary["presence"] is None
    assert geometry_summary([]) is None and latency_summary([]) is None


def test_sizes_are_shares_of_the_picture(entries):
    assert [size_of(entry) for entry in entries[:2]] == ["large", "small"]
