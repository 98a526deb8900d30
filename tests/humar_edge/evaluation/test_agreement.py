"""Agreement with pycocotools on a committed fixture (see fixtures/make_coco_agreement.py)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from refhuman_factory import annotation, image, write_split

from humar_edge.data.masks import rle_mask
from humar_edge.data.refhuman import RefHumanIndex
from humar_edge.evaluation.boxes import box_iou
from humar_edge.evaluation.evaluator import Evaluator, Prediction
from humar_edge.evaluation.masks import mask_overlap
from humar_edge.evaluation.oks import oks
from humar_edge.evaluation.pose_ap import FIGURES, Pose, pose_ap, precision_recall

pytest.importorskip("faster_coco_eval")
TOLERANCE = 1e-6


@pytest.fixture(scope="module")
def fixture() -> dict:
    return json.loads((Path(__file__).parent / "fixtures" / "coco_agreement.json").read_text())


@pytest.fixture(scope="module")
def poses(fixture) -> list[Pose]:
    return [
        Pose(
            np.array(person["keypoints"]),
            person["area"],
            np.array(person["box"]),
            np.array(person["predicted"]["keypoints"]),
            person["predicted"]["score"],
        )
        for person in fixture["people"]
    ]


def test_pose_ap(fixture, poses):
    figures = pose_ap(poses)
    assert [figures[name] for name in FIGURES] == pytest.approx(fixture["pycocotools"]["pose"], abs=TOLERANCE)


def test_oks(fixture, poses):
    values = [oks(pose.predicted, pose.annotated, pose.area) for pose in poses]
    assert values == pytest.approx(fixture["pycocotools"]["oks"], abs=TOLERANCE)


def test_box_iou(fixture):
    values = [box_iou(np.array(p["predicted"]["box"]), np.array(p["box"])) for p in fixture["people"]]
    assert values == pytest.approx(fixture["pycocotools"]["box_iou"], abs=TOLERANCE)


def test_mask_iou(fixture):
    size = fixture["height"], fixture["width"]
    pairs = [
        mask_overlap(rle_mask(p["predicted"]["mask"], *size), rle_mask(p["mask"], *size)) for p in fixture["people"]
    ]
    assert [i / u for i, u in pairs] == pytest.approx(fixture["pycocotools"]["mask_iou"], abs=TOLERANCE)


def test_precision_recall_averages_to_ap(poses):
    curves = precision_recall(poses, (0.5, 0.75))
    figures = pose_ap(poses)
    assert curves[0.5].mean() == pytest.approx(figures["AP50"]) and curves[0.75].mean() == pytest.approx(
        figures["AP75"]
    )


def test_sizes_without_people_have_no_figure(poses):
    figures = pose_ap([Pose(p.annotated, 50.0**2, p.bbox, p.predicted, p.score) for p in poses])
    assert figures["AP_large"] is None and figures["AP_medium"] > 0


def test_the_whole_way_through_files_and_evaluator(fixture, tmp_path):
    size = {"width": fixture["width"], "height": fixture["height"]}
    people = list(enumerate(fixture["people"], start=1))
    annotations = [
        annotation(n, p["box"], area=p["area"], segmentation=p["mask"], keypoints=np.ravel(p["keypoints"]).tolist())
        for n, p in people
    ]
    write_split(tmp_path, [image(n, "the one in red", **size) for n, _ in people], annotations)
    evaluator = Evaluator()
    for entry, (_, person) in zip(RefHumanIndex.load(tmp_path), people, strict=True):
        guess = person["predicted"]
        mask = rle_mask(guess["mask"], entry.height, entry.width)
        evaluator.update(entry, Prediction(guess["score"], np.array(guess["box"]), np.array(guess["keypoints"]), mask))
    theirs, overall = fixture["pycocotools"], evaluator.summary()["overall"]
    assert [overall["pose"][name] for name in FIGURES] == pytest.approx(theirs["pose"], abs=TOLERANCE)
    # The index keeps coordinates as float32.
    assert overall["mean_oks"] == pytest.approx(np.mean(theirs["oks"]), abs=1e-5)
    assert overall["mean_box_iou"] == pytest.approx(np.mean(theirs["box_iou"]), abs=1e-5)
    assert overall["mask"]["mIoU"] == pytest.approx(np.mean(theirs["mask_iou"]), abs=TOLERANCE)


def test_the_fixture_is_what_pycocotools_says_today(fixture, poses):
    pytest.importorskip("pycocotools")
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location("maker", Path(__file__).parent / "fixtures" / "make_coco_agreement.py")
    maker = module_from_spec(spec)
    spec.loader.exec_module(maker)
    assert maker.judge(fixture["people"])["pose"] == pytest.approx(fixture["pycocotools"]["pose"], abs=TOLERANCE)
