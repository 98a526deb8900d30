"""Order of the data, broken pictures, worker processes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from refhuman_factory import annotation, image, nobody, write_split  # noqa: E402
from tiny_training import SIZE, imwrite_garbage, write_people  # noqa: E402

from humar_edge.data.refhuman import RefHumanIndex  # noqa: E402
from humar_edge.errors import DataError  # noqa: E402
from humar_edge.training.loading import Order, Samples, Stream  # noqa: E402
from humar_edge.training.samples import SampleMaker, SampleOptions, group_by_image  # noqa: E402


def maker_of(data: Path) -> SampleMaker:
    return SampleMaker(group_by_image(RefHumanIndex.load(data, "train").entries), SampleOptions(size=SIZE))


def test_processes_share_each_batch_and_an_epoch_shows_every_picture_once() -> None:
    whole = Order(12, 4, seed=3)
    parts = [Order(12, 2, 3, process, 2) for process in range(2)]
    seen = []
    for number in range(3):
        keys = whole.keys(number)
        assert keys == parts[0].keys(number) + parts[1].keys(number)
        seen += [index for index, _ in keys]
    assert sorted(seen) == list(range(12))
    assert {seed for _, seed in whole.keys(2)} != {seed for _, seed in whole.keys(3)}
    assert len(Order(3, 8, 0).keys(5)) == 8  # fewer pictures than a batch


def test_broken_pictures_are_counted_and_replaced(tmp_path: Path) -> None:
    data = write_people(tmp_path, splits=("train",))
    maker = maker_of(data)
    imwrite_garbage(data / "images" / "train1.png")
    imwrite_garbage(data / "images" / "train2.png")
    stream = Stream(maker, Order(6, 3, 0))
    for _ in range(4):
        batch = next(stream)
        assert len(batch.image) == 3 and batch.noise is not None and len(batch.noise) == len(batch.captions)
    stream.close()
    assert stream.broken == {"picture that cannot be read or is of another size than annotated": 2}
    for picture in range(6):
        (data / "images" / f"train{picture}.png").write_bytes(b"")
    with pytest.raises(DataError, match="data check"):
        next(Stream(maker_of(data), Order(6, 3, 0)))


def test_pictures_without_prompts_are_replaced_evenly(tmp_path: Path) -> None:
    """Nobody is in the first 30 pictures: what follows them must not stand for all of these."""
    names = [f"{number}.png" for number in range(60)]
    images = [image(number, "a person", name, SIZE, SIZE) for number, name in enumerate(names)]
    box = (10, 10, 50, 50)
    people = [nobody(number) if number < 30 else annotation(number, box) for number in range(60)]
    write_split(tmp_path, images, people, split="train")
    groups = group_by_image(RefHumanIndex.load(tmp_path, "train").entries)
    options = SampleOptions(size=SIZE, prompts=1, negatives=0.0, augment=False)
    samples = Samples(SampleMaker(groups, options))
    shown = Counter(int(samples[index, 1][0].image[0, 0, 0]) for index in range(30))  # every picture has its own grey
    assert min(shown) >= 130 and max(shown.values()) <= 6
    with pytest.raises(DataError, match="no prompts"):
        Samples(SampleMaker(groups[:30], options))[0, 1]


@pytest.mark.slow
def test_worker_processes_give_the_same_batches(tmp_path: Path) -> None:
    data = write_people(tmp_path, splits=("train",))
    maker, order = maker_of(data), Order(6, 2, 1)
    streams = [Stream(maker, order, 1, workers) for workers in (0, 1)]
    for _ in range(3):
        ours, theirs = (next(stream) for stream in streams)
        assert torch.equal(ours.image, theirs.image) and ours.captions == theirs.captions
        assert torch.equal(ours.noise, theirs.noise)
    for stream in streams:
        stream.close()
