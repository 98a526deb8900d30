"""Choice of images, statistics, and the cache of ranges."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from refhuman_factory import annotation, image, nobody, write_split

from humar_edge.calibration.images import calibration_entries, calibration_key, choose
from humar_edge.calibration.ranges import Ranges
from humar_edge.calibration.statistics import BINS, METHODS, Histogram
from humar_edge.data.refhuman import RefHumanIndex
from humar_edge.errors import DataError, SinkError


@pytest.fixture
def folder(tmp_path):
    entries, annotations = [], []
    for number in range(1, 31):
        entries.append(image(number, f"the person number {number}", f"{number}.png", 100, 100))
        side = (15, 35, 90)[number % 3]
        annotations.append(annotation(number, (2, 2, side, side)) if number % 5 else nobody(number))
    write_split(tmp_path, entries, annotations, split="train")
    return tmp_path


def test_choice_is_spread_and_deterministic(folder):
    entries = RefHumanIndex.load(folder, "train").entries
    first, second = choose(entries, 8), choose(entries, 8)
    assert [entry.id for entry in first] == [entry.id for entry in second]
    assert len({entry.image_path for entry in first}) == 8
    assert {round(float(entry.bbox[2])) for entry in first} == {0, 13, 33, 88}
    assert [entry.id for entry in choose(entries, 8, seed=1)] != [entry.id for entry in first]


def test_folders_that_cannot_calibrate(tmp_path, folder):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match="RefHuman format"):
        calibration_entries([empty], 16)
    for number in range(4, 31):
        (folder / "images" / f"{number}.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match="too few"):
        calibration_entries([folder], 16)
    for number in range(1, 4):
        (folder / "images" / f"{number}.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match="no readable picture"):
        calibration_entries([folder], 16)


def test_several_data_sets_give_as_many_pictures_each(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    names = [f"{number}.png" for number in range(1, 31)]
    entries = [image(number, "somebody else", name, 100, 100) for number, name in enumerate(names, 1)]
    write_split(other, entries, [annotation(number, (2, 2, 40, 40)) for number in range(1, 31)], split="train")
    found = calibration_entries([folder, other], 17)
    assert [sum(entry.image_path.parent.parent == place for entry in found) for place in (folder, other)] == [8, 9]
    with pytest.raises(DataError, match="nowhere"):
        calibration_entries([folder, other / "nowhere"], 17)


def test_key_changes_with_weights_pictures_and_captions(folder):
    entries = RefHumanIndex.load(folder, "train").entries[:3]
    scribbled = [replace(entries[0], scribble=np.ones((1, 12, 2), np.int32)), *entries[1:]]
    key = calibration_key(b"weights", b"words", entries, "384")
    others = [
        calibration_key(b"other", b"words", entries, "384"),
        calibration_key(b"weights", b"others", entries, "384"),
        calibration_key(b"weights", b"words", entries[:2], "384"),
        calibration_key(b"weights", b"words", entries, "640"),
        calibration_key(b"weights", b"words", scribbled, "384"),
    ]
    (folder / "images" / "1.png").write_bytes(b"another picture")
    others.append(calibration_key(b"weights", b"words", entries, "384"))
    assert len({key, *others}) == 7


def test_histogram_grows_without_losing_anything():
    histogram, rng = Histogram(), np.random.default_rng(0)
    for scale in (0.0, 0.1, 1.0, 37.0, 2.0):
        histogram.update(rng.normal(size=1000) * scale)
    histogram.update(np.array([np.nan, np.inf, 1.0]))
    assert histogram.counts.sum() == 5001 and len(histogram.counts) == BINS
    assert histogram.upper >= histogram.largest > 37


def test_methods_differ_on_outliers_and_agree_on_nothing():
    histogram = Histogram()
    histogram.update(np.random.default_rng(0).normal(size=200_000))
    histogram.update(np.array([1000.0]))
    found = {name: method(histogram) for name, method in METHODS.items()}
    assert found["minmax"] == 1000.0
    assert 3 < found["percentile"] < 6
    assert found["entropy"] < 1000.0
    zeros = Histogram()
    zeros.update(np.zeros(10))
    assert {method(zeros) for method in METHODS.values()} == {0.0}


def test_cache_is_used_for_its_key_only(tmp_path):
    path = tmp_path / "cache" / "ranges.json"
    ranges = Ranges("key", 8, {"a": {"minmax": 1.0}}, ["1.png: text"])
    ranges.save(path)
    assert Ranges.load(path, "key", ["a"]) == ranges and Ranges.load(path, "other", ["a"]) is None
    assert Ranges.load(path, "key", []) == ranges and Ranges.load(path, "key", ["a", "b"]) is None
    assert [item.name for item in path.parent.iterdir()] == ["ranges.json"]
    path.write_text("{")
    assert Ranges.load(path, "key", ["a"]) is None
    assert Ranges.load(tmp_path / "none", "key", ["a"]) is None


def test_a_cache_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SinkError, match="cannot write"):
        Ranges("key", 8, {}, []).save(tmp_path / "file" / "ranges.json")
