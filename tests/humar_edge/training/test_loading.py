"""Order of the data, broken pictures, worker processes."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from tiny_training import SIZE, imwrite_garbage, write_people  # noqa: E402

from humar_edge.data.refhuman import RefHumanIndex  # noqa: E402
from humar_edge.errors import DataError  # noqa: E402
from humar_edge.training.loading import Order, Stream  # noqa: E402
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
    assert stream.broken == {"picture that cannot be read": 2}
    for picture in range(6):
        (data / "images" / f"train{picture}.png").write_bytes(b"")
    with pytest.raises(DataError, match="data check"):
        next(Stream(maker_of(data), Order(6, 3, 0)))


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
