"""How a run begins: which text encoder it has, and with which weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from light_checkpoint import write_light_checkpoint  # noqa: E402
from tiny_training import tiny_encoder, tiny_network, write_people  # noqa: E402

from humar_edge.data.entries import Entry  # noqa: E402
from humar_edge.data.refhuman import RefHumanIndex  # noqa: E402
from humar_edge.errors import CheckpointError, ConfigError  # noqa: E402
from humar_edge.training import checkpoint  # noqa: E402
from humar_edge.training.session import _encoder, _take  # noqa: E402
from humar_edge.training.texts import open_encoder  # noqa: E402


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_light_checkpoint(tmp_path_factory.mktemp("written") / "last")


@pytest.fixture(scope="module")
def entries(tmp_path_factory: pytest.TempPathFactory) -> list[Entry]:
    return RefHumanIndex.load(write_people(tmp_path_factory.mktemp("people"), splits=("train",)), "train").entries


def options(output: Path, **more: Any) -> dict[str, Any]:
    return {"output": output, "resume": True, "init": None, "text_source": None} | more


def test_what_goes_on_keeps_its_vocabulary(tmp_path: Path, written: Path, entries: list[Entry]) -> None:
    """Rows of the table of `tite` belong to words; other captions make up another table."""
    stored = checkpoint.read_state(written)["text_encoder"]["tokenizer"]
    assert open_encoder("tite", entries, None).tokenizer.to_str() != stored
    for choice in (
        options(written.parent),
        options(written.parent, text_source=tmp_path),  # the same command continues
        options(tmp_path, init=written),
        options(written.parent, resume=False, init=written),
    ):
        encoder, from_checkpoint = _encoder(choice, "tite", entries)
        assert from_checkpoint and encoder.tokenizer.to_str() == stored
    encoder, from_checkpoint = _encoder(options(written.parent, resume=False), "tite", entries)
    assert not from_checkpoint and encoder.tokenizer.to_str() != stored


def test_what_does_not_go_together_is_one_line(tmp_path: Path, written: Path, entries: list[Entry]) -> None:
    with pytest.raises(CheckpointError, match="has the text encoder 'tite', not 'minilm'; give the options"):
        _encoder(options(written.parent), "minilm", entries)
    with pytest.raises(ConfigError, match=r"--text-source: .* has its own text encoder; leave one of them out"):
        _encoder(options(tmp_path, init=written, text_source=tmp_path), "tite", entries)


def test_weights_without_a_text_encoder_start_a_network_that_has_one(tmp_path: Path) -> None:
    encoder = tiny_encoder()
    network, outside = tiny_network(encoder), tiny_network(encoder, seed=1)
    checkpoint.save(tmp_path / "last", outside, outside.state_dict(), None, {"step": 1})
    network.text_encoder = encoder
    before = encoder.tokens.weight.clone()
    _take(network, tmp_path / "last")
    assert torch.equal(encoder.tokens.weight, before)
    wanted = outside.state_dict()
    assert all(
        torch.equal(value, wanted[name])
        for name, value in network.transformer.state_dict(prefix="transformer.").items()
    )
