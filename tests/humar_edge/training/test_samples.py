"""Samples: targets of a tiny RefHuman data set, and augmentation that moves everything together."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2")
pytest.importorskip("torch")

from refhuman_factory import annotation, image, keypoints_in, nobody, write_split  # noqa: E402

from humar_edge import rle  # noqa: E402
from humar_edge.data.refhuman import RefHumanIndex  # noqa: E402
from humar_edge.errors import DataError  # noqa: E402
from humar_edge.training import samples  # noqa: E402
from humar_edge.training.batch import collate  # noqa: E402
from humar_edge.training.samples import DRAWS, Augmentation, SampleMaker, SampleOptions, group_by_image  # noqa: E402

BOX = (50, 20, 110, 110)
SIZE = 128
LEFT_WRIST, RIGHT_WRIST = 9, 10
RED, GREEN, BLUE = (30, 30, 220), (30, 220, 30), (220, 30, 30)
"""BGR."""
PLACES = {LEFT_WRIST: (0.85, 0.5), RIGHT_WRIST: (0.15, 0.5)}
"""Of the wrists in the box; the person faces the camera."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One picture 160x120 of a red person with a blue left and a green right hand, one caption each of two kinds."""
    frame = np.full((120, 160, 3), 128, np.uint8)
    x1, y1, x2, y2 = BOX
    frame[y1:y2, x1:x2] = RED
    places = np.full((17, 2), 0.5)
    for joint, place in PLACES.items():
        places[joint] = place
        centre = np.array([x1, y1]) + np.array(place) * [x2 - x1, y2 - y1]
        cv2.circle(frame, tuple(int(c) for c in centre), 6, BLUE if joint == LEFT_WRIST else GREEN, -1)
    entries = [
        image(1, "the person in red on the left"),
        image(2, "the person in yellow"),
        image(3, "a man in red", "b.png"),
    ]
    people = [
        annotation(1, BOX, keypoints=keypoints_in(BOX, places)),
        nobody(2),
        annotation(3, BOX, keypoints=keypoints_in(BOX, places), segmentation=[]),
    ]
    return write_split(
        tmp_path_factory.mktemp("refhuman"), entries, people, {"a.png": frame, "b.png": frame}, split="train"
    )


@pytest.fixture
def plain_light(monkeypatch: pytest.MonkeyPatch) -> None:
    """Colours stay as they are."""
    monkeypatch.setattr(samples, "jitter", lambda image, *_: image)


def maker(root: Path, **options) -> SampleMaker:
    groups = group_by_image(RefHumanIndex.load(root, "train").entries)
    return SampleMaker(groups, SampleOptions(**({"size": SIZE, "negatives": 0.5} | options)))


def colour_at(canvas: np.ndarray, point: np.ndarray) -> str:
    """Which channel of the RGB canvas dominates at a point in [0,1]."""
    x, y = np.clip((point * SIZE).astype(int), 0, SIZE - 1)
    return ("red", "green", "blue")[int(canvas[y, x].argmax())]


def test_entries_of_a_picture_make_one_sample(root: Path) -> None:
    made = maker(root)
    assert len(made) == 2 and [len(group) for group in made.groups] == [2, 1]


def test_targets_without_augmentation_are_the_letterboxed_annotation(root: Path) -> None:
    sample = maker(root, augment=False, positional=0.0).make(0, 0)
    scale = SIZE / 160
    person, absent = sample.targets
    assert sample.image.shape == (SIZE, SIZE, 3) and sample.noise.shape == (2, DRAWS)
    assert (sample.image[int(120 * scale) + 1 :] == 114).all(), "grey below"
    np.testing.assert_allclose(person.box * SIZE, np.array(BOX) * scale, atol=2)
    assert person.keypoints[LEFT_WRIST, 0] == pytest.approx((50 + 0.85 * 60) * scale / SIZE)
    assert person.has_mask and person.mask.sum() == pytest.approx(60 * 90 * (scale / 2) ** 2, rel=0.06)
    assert person.caption == "the person in red on the left" and person.points is None
    assert absent.absent and not absent.box.any() and not absent.keypoints.any() and not absent.mask.any()


def test_a_person_without_mask_keeps_the_annotated_box(root: Path) -> None:
    person = maker(root, augment=False).make(1, 0).targets[0]
    assert not person.has_mask and not person.mask.any()
    np.testing.assert_allclose(person.box * SIZE, np.array(BOX) * SIZE / 160, atol=1e-3)


def test_a_run_length_mask_is_a_mask(root: Path, plain_light: None) -> None:
    for seed in range(20):
        made, code = maker(root), maker(root)
        code.groups = [
            [entry if entry.absent else replace(entry, segmentation=rle.encode(entry.mask())) for entry in group]
            for group in made.groups
        ]
        for polygons, decoded in zip(made.make(0, seed).targets, code.make(0, seed).targets, strict=True):
            assert decoded.has_mask == polygons.has_mask == (not polygons.absent)
            assert (decoded.mask & polygons.mask).sum() >= 0.95 * (decoded.mask | polygons.mask).sum()
            np.testing.assert_allclose(decoded.box, polygons.box, atol=2.1 / SIZE)


def test_a_picture_of_another_size_than_annotated_is_refused(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root, tmp_path / "data")
    cv2.imwrite(str(tmp_path / "data" / "images" / "a.png"), np.zeros((60, 80, 3), np.uint8))
    with pytest.raises(DataError, match=r"a\.png is of another size than annotated \(80x60, annotated 160x120\)"):
        maker(tmp_path / "data").make(0, 0)


def test_captions_of_absent_people_are_bounded(tmp_path: Path) -> None:
    entries = [image(number, f"nobody {number}") for number in range(8)] + [image(8, "man", "b.png")]
    people = [nobody(number) for number in range(8)] + [annotation(8, BOX)]
    write_split(tmp_path, entries, people, split="train")
    for prompts, negatives in ((5, 0.25), (5, 0.1), (1, 0.25), (5, 0.0)):
        made = maker(tmp_path, prompts=prompts, negatives=negatives)
        counts = [len(made.make(0, seed).targets) for seed in range(150)]
        assert set(counts) <= {int(prompts * negatives), int(prompts * negatives) + 1}
        assert np.mean(counts) == pytest.approx(prompts * negatives, abs=0.12)


def test_fillers_that_cannot_be_read_give_way(root: Path, tmp_path: Path, plain_light: None) -> None:
    broken, white = tmp_path / "a.png", tmp_path / "b.png"
    broken.write_bytes(b"no picture")
    cv2.imwrite(str(white), np.full((90, 120, 3), 255, np.uint8))
    groups = maker(root).groups
    seen = set()
    for seed in range(20):
        made = SampleMaker(groups, SampleOptions(size=SIZE, paste=0.0), [broken, white])
        grey = SampleMaker(groups, SampleOptions(size=SIZE, paste=0.0), [broken])
        both = made.make(0, seed).image, grey.make(0, seed).image
        seen.add((bool((both[0] == 255).all(2).any()), bool((both[1] == 255).all(2).any())))
    assert seen == {(True, False), (False, False)}, "white around some, grey where nothing can be read"


def test_enlarged_pictures_get_the_detail_of_a_filler(
    root: Path, tmp_path: Path, plain_light: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, rough = tmp_path / "plain.png", tmp_path / "rough.png"
    cv2.imwrite(str(plain), np.full((150, 150, 3), 128, np.uint8))
    cv2.imwrite(str(rough), np.random.default_rng(0).integers(0, 255, (150, 150, 3), dtype=np.uint8))
    monkeypatch.setitem(samples.AUGMENTATIONS, "plain", Augmentation(surround=0, crop=0))
    groups, changed = maker(root).groups, []
    for size in (SIZE, 3 * SIZE):  # the picture is 160 wide
        for seed in range(30):
            one, two = (
                SampleMaker(groups, SampleOptions(size=size, augmentation="plain"), [filler]).make(0, seed)
                for filler in (plain, rough)
            )
            assert [target.box.tolist() for target in one.targets] == [target.box.tolist() for target in two.targets]
            changed.append((size > 160, bool((one.image != two.image).any())))
    assert {(True, True), (True, False), (False, False)} == set(changed), "some of those enlarged, no others"


def test_the_same_seed_gives_the_same_sample(root: Path) -> None:
    one, two, other = (maker(root).make(0, seed) for seed in (5, 5, 6))
    assert np.array_equal(one.image, two.image) and np.array_equal(one.noise, two.noise)
    assert [t.caption for t in one.targets] == [t.caption for t in two.targets]
    assert not np.array_equal(one.image, other.image)


def test_augmentation_moves_picture_mask_box_and_joints_together(root: Path, plain_light: None) -> None:
    made, mirrored, moved = maker(root, positional=0.5), [], []
    for seed in range(40):
        sample = made.make(0, seed)
        for target in (t for t in sample.targets if not t.absent):
            canvas = sample.image
            person = (canvas.max(2) > 170) & (canvas.min(2) < 80)
            mask = cv2.resize(target.mask, (SIZE, SIZE), interpolation=cv2.INTER_NEAREST).astype(bool)
            assert (person & mask).sum() > 0.9 * (person | mask).sum(), f"mask, seed {seed}"
            rows, columns = np.nonzero(mask.any(1))[0], np.nonzero(mask.any(0))[0]
            edges = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
            np.testing.assert_allclose(target.box * SIZE, edges, atol=1e-3)
            seen = target.keypoints[:, 2] > 0
            if seen[LEFT_WRIST] and seen[RIGHT_WRIST]:
                left, right = (colour_at(canvas, target.keypoints[joint, :2]) for joint in (LEFT_WRIST, RIGHT_WRIST))
                assert {left, right} == {"blue", "green"}, f"joints, seed {seed}"
                mirrored.append(left == "green")
                words = target.caption.lower().split()
                assert ("right" in words) == mirrored[-1] and ("left" in words) != mirrored[-1], target.caption
            for joint in np.nonzero(seen)[0]:
                assert (target.keypoints[joint, :2] >= target.box[:2] - 0.02).all()
                assert (target.keypoints[joint, :2] <= target.box[2:] + 0.02).all()
            moved.append(target.box)
    assert 0.2 < np.mean(mirrored) < 0.8, "half of the pictures are mirrored"
    assert np.ptp(np.array(moved), axis=0).min() > 0.1, "people appear in many places and sizes"


def test_points_lie_on_the_person(root: Path, plain_light: None) -> None:
    made, single = maker(root, positional=1.0), []
    for seed in range(30):
        for target in made.make(0, seed).targets:
            if target.absent:
                assert target.points is None, "nobody can be pointed at"
                continue
            assert target.points.shape == (12, 2) and target.points.dtype == np.float32
            inside = (target.points > 0.01) & (target.points < 0.99)
            for x, y in target.points[inside.all(1)]:
                assert target.mask[int(y * SIZE / 2), int(x * SIZE / 2)]
            single.append(bool((target.points == target.points[0]).all()))
    assert 0.2 < np.mean(single) < 0.8, "single points and scribbles"


def test_joints_outside_the_canvas_are_unlabelled(root: Path) -> None:
    made, lost = maker(root), 0
    for seed in range(60):
        for target in made.make(0, seed).targets:
            if target.absent:
                continue
            gone = target.keypoints[:, 2] == 0
            lost += int(gone.sum())
            assert not target.keypoints[gone].any()
            assert (target.keypoints[~gone, :2] >= 0).all() and (target.keypoints[~gone, :2] < 1).all()
    assert lost > 0


def test_a_batch_knows_which_picture_a_prompt_belongs_to(root: Path) -> None:
    made = maker(root, augment=False, positional=1.0, points=1.0)
    batch = collate([made.make(0, 0), made.make(1, 0)])
    assert batch.image.shape == (2, SIZE, SIZE, 3) and batch.owner.tolist() == [0, 0, 1]
    assert batch.present.tolist() == [True, False, True] and batch.has_mask.tolist() == [True, False, False]
    assert batch.pointed.tolist() == [0, 2] and batch.points.shape == (2, 12, 2)
    assert batch.noise.shape == (3, DRAWS)
