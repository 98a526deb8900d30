from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from humar_edge.cli.main import group
from humar_edge.data.synth.scene import SceneConfig
from humar_edge.data.synth.scribbles import scribbles
from humar_edge.data.synth.writer import DatasetConfig, polygons, write_dataset
from humar_edge.errors import ConfigError, DataError, SinkError

CONFIG = DatasetConfig(scenes=6, val_share=0.34, negatives=0.5, seed=4, scene=SceneConfig(size=96, people=(1, 3)))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synth") / "data"
    write_dataset(folder, CONFIG, workers=1)
    return folder


def documents(folder: Path) -> list[dict]:
    return [json.loads((folder / f"RefHuman_{split}.json").read_text()) for split in ("train", "val")]


def test_layout(dataset: Path):
    assert sorted(p.name for p in dataset.iterdir()) == ["RefHuman_train.json", "RefHuman_val.json", "images"]
    train, val = documents(dataset)
    names = [{image["file_name"] for image in part["images"]} for part in (train, val)]
    assert names[0] and names[1] and not names[0] & names[1]
    assert names[0] | names[1] == {path.name for path in (dataset / "images").iterdir()}


def test_entries_follow_the_format(dataset: Path):
    for part in documents(dataset):
        assert [image["id"] for image in part["images"]] == [entry["image_id"] for entry in part["annotations"]]
        for image, entry in zip(part["images"], part["annotations"]):
            assert image["caption"] and len(entry["keypoints"]) == 51 and entry["category_id"] == 1
            if entry.get("absent"):
                assert entry["bbox"] == [0, 0, 0, 0] and entry["segmentation"] == [] and "scribble" not in entry
                assert entry["keypoints"] == [0] * 51 and entry["num_keypoints"] == entry["area"] == 0
                continue
            mask = np.zeros((image["height"], image["width"]), np.uint8)
            for outline in entry["segmentation"]:
                cv2.fillPoly(mask, [np.array(outline, np.int32).reshape(-1, 2)], 1)
            x, y, w, h = entry["bbox"]
            assert abs(int(mask.sum()) - entry["area"]) < 0.12 * entry["area"] + 12
            assert mask[y : y + h, x : x + w].sum() == mask.sum()
            strokes = np.array(entry["scribble"])
            assert strokes.shape == (5, 12, 2)
            assert mask[strokes[..., 1], strokes[..., 0]].mean() > 0.95
            visible = np.array(entry["keypoints"]).reshape(17, 3)[:, 2]
            assert set(visible) <= {0, 1, 2} and entry["num_keypoints"] == (visible > 0).sum() >= 4


def test_some_captions_fit_nobody(dataset: Path):
    entries = [entry for part in documents(dataset) for entry in part["annotations"]]
    assert 0.2 < np.mean(["absent" in entry for entry in entries]) < 0.45


def test_no_caption_of_a_picture_occurs_twice(dataset: Path):
    for part in documents(dataset):
        pairs = [(image["file_name"], image["caption"].lower()) for image in part["images"]]
        assert len(set(pairs)) == len(pairs)


@pytest.mark.slow
def test_the_result_does_not_depend_on_the_number_of_workers(dataset: Path, tmp_path: Path):
    write_dataset(tmp_path / "again", CONFIG, workers=2)
    for path in (p for p in dataset.rglob("*") if p.is_file()):
        assert (tmp_path / "again" / path.relative_to(dataset)).read_bytes() == path.read_bytes()


def test_a_full_folder_is_refused(dataset: Path):
    with pytest.raises(SinkError, match="not empty"):
        write_dataset(dataset, CONFIG)


def test_an_interrupted_run_leaves_no_annotation_file(tmp_path: Path):
    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_dataset(tmp_path, CONFIG, on_scene=stop)
    assert not list(tmp_path.glob("*.json*"))


def test_a_split_without_scenes_has_no_file(tmp_path: Path):
    counts = write_dataset(tmp_path, replace(CONFIG, scenes=1, val_share=0.0))
    assert counts["val"]["scenes"] == 0
    assert [path.name for path in tmp_path.glob("*.json")] == ["RefHuman_train.json"]


def test_the_validation_share_is_spread_evenly():
    config = DatasetConfig(scenes=100, val_share=0.1)
    assert [i for i in range(100) if config.is_val(i)] == list(range(9, 100, 10))
    assert all(DatasetConfig(scenes=3, val_share=1.0).is_val(i) for i in range(3))
    assert not any(DatasetConfig(scenes=3, val_share=0.0).is_val(i) for i in range(3))


@pytest.mark.parametrize(
    "options",
    [
        ["--scenes", "0"],
        ["--scenes", "1", "--val-share", "2"],
        ["--scenes", "1", "--people", "3", "2"],
        ["--scenes", "1", "--size", "8"],
        ["--scenes", "1", "--negatives", "-1"],
        ["--scenes", "1", "--captions", "0"],
        ["--scenes", "1", "--workers", "0"],
        ["--scenes", "1", "--seed", "-1"],
    ],
)
def test_bad_options_are_one_clear_line(options: list[str], tmp_path: Path):
    result = CliRunner().invoke(group, ["synth", str(tmp_path / "out"), *options])
    assert isinstance(result.exception, ConfigError)
    assert options[-2 if options[-2].startswith("--") else -3] in str(result.exception)
    assert not list(tmp_path.glob("out/*.json"))


def test_backgrounds_must_hold_pictures(tmp_path: Path):
    for folder in (tmp_path, tmp_path / "missing"):
        result = CliRunner().invoke(
            group, ["synth", str(tmp_path / "out"), "--scenes", "1", "--backgrounds", str(folder)]
        )
        assert isinstance(result.exception, DataError)


def test_command_with_photo_backgrounds(tmp_path: Path):
    photos = tmp_path / "photos ü"
    photos.mkdir()
    good, data = cv2.imencode(".jpg", np.full((50, 80, 3), (0, 200, 0), np.uint8))
    assert good
    data.tofile(photos / "green.jpg")
    out = tmp_path / "out"
    options = ["--scenes", "1", "--size", "96", "--val-share", "0", "--workers", "1", "--people", "1", "1"]
    result = CliRunner().invoke(group, ["synth", str(out), "--backgrounds", str(photos), *options])
    assert result.exit_code == 0, result.output
    picture = cv2.imread(str(next((out / "images").iterdir())))
    corner = picture[:10, :10].reshape(-1, 3).mean(0)
    assert corner[1] > corner[0] + 60 and corner[1] > corner[2] + 60
    assert f"wrote {out}; next: humar-edge data check {out}" in result.output


def test_scribbles_stay_inside_even_a_thin_mask():
    rng = np.random.default_rng(0)
    thin = np.zeros((40, 40), bool)
    thin[5:35, 20] = True
    blob = np.zeros((40, 40), bool)
    blob[8:30, 5:30] = True
    for mask in (thin, blob):
        strokes = np.array(scribbles(mask, rng))
        assert strokes.shape == (5, 12, 2) and mask[strokes[..., 1], strokes[..., 0]].all()
    assert scribbles(np.zeros((9, 9), bool), rng) is None


def test_polygons_drop_specks():
    mask = np.zeros((30, 30), bool)
    mask[5:20, 5:20] = True
    mask[25, 25] = True
    outlines = polygons(mask)
    assert len(outlines) == 1 and len(outlines[0]) >= 6
