from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from humar_edge.errors import CheckpointError  # noqa: E402
from humar_edge.models.checkpoints import load_upstream, read_state, strip_module, upstream_to_own  # noqa: E402

MANIFEST = Path(__file__).resolve().parents[2] / "fixtures" / "uniphd" / "manifest_original_swin_t_minilm.json"


class Bert(torch.nn.Module):
    """The few parts by which a Hugging Face network is recognised."""

    def __init__(self):
        super().__init__()
        self.config = None
        self.embeddings = torch.nn.Module()
        self.embeddings.word_embeddings = torch.nn.Embedding(9, 12)


class Encoder(torch.nn.Module):
    dim = 12

    def __init__(self):
        super().__init__()
        self.network = Bert()


@pytest.fixture
def network():
    from humar_edge.models.backbones.swin import SwinTransformer
    from humar_edge.models.original.uniphd import UniPHD

    return UniPHD(
        SwinTransformer(16, (1, 1, 1, 1), (1, 2, 4, 8)),
        Encoder(),
        width=32,
        hidden=8,
        encoder_layers=1,
        decoder_layers=2,
    )


@pytest.fixture
def upstream(network):
    """Random values under upstream names, with the second copy of the heads holding other values."""
    own = network.state_dict()
    state = {}
    for name in manifest():
        target = upstream_to_own(name, "text_encoder.network.")
        if target in own:
            tensor = own[target]
            state[name] = torch.randn(tensor.shape) if tensor.is_floating_point() else tensor.clone()
    return state


def manifest():
    return json.loads(MANIFEST.read_text())


def test_every_published_entry_has_a_place():
    targets = {name: upstream_to_own(name) for name in manifest()}
    assert len(targets) == 852
    assert None not in targets.values()
    assert len(set(targets.values())) == 768


def test_top_level_heads_win_over_their_aliases(network, upstream):
    report = load_upstream(network, dict(reversed(upstream.items())))
    assert report.aliases == 28
    assert report.loaded == len(network.state_dict())
    torch.testing.assert_close(network.transformer.heads.classes[1].bias.data, upstream["class_embed.1.bias"])
    assert not torch.equal(upstream["class_embed.1.bias"], upstream["transformer.decoder.class_embed.1.bias"])


def test_aliases_serve_where_the_top_level_copy_is_missing(network, upstream):
    for name in [name for name in upstream if re.match(r"(class|bbox|pose)_embed\.", name)]:
        del upstream[name]
    assert load_upstream(network, upstream).aliases == 0
    expected = upstream["transformer.decoder.pose_embed.0.layers.1.weight"]
    torch.testing.assert_close(network.transformer.heads.poses[0].layers[1].weight.data, expected)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_files_with_the_data_parallel_prefix(network, upstream, tmp_path, suffix):
    state = {f"module.{name}": tensor for name, tensor in upstream.items()}
    path = tmp_path / f"checkpoint{suffix}"
    if suffix == ".pth":
        torch.save({"model": state, "epoch": 19}, path)
    else:
        pytest.importorskip("safetensors.torch").save_file(state, path)
    load_upstream(network, path)
    torch.testing.assert_close(network.transformer.level_embed.data, upstream["transformer.level_embed"])


def test_averaged_copy_is_taken_on_request(network, upstream, tmp_path):
    path = tmp_path / "checkpoint.pth"
    averaged = {
        f"module.{name}": tensor + 1 if tensor.is_floating_point() else tensor for name, tensor in upstream.items()
    }
    torch.save({"model": upstream, "ema_model": averaged}, path)
    load_upstream(network, path, ema=True)
    torch.testing.assert_close(network.transformer.level_embed.data, upstream["transformer.level_embed"] + 1)
    torch.save({"model": upstream}, path)
    with pytest.raises(CheckpointError, match="no averaged copy"):
        read_state(path, ema=True)


def test_problems_are_all_named_and_nothing_is_loaded(network, upstream):
    before = network.transformer.level_embed.clone()
    del upstream["controller.layers.0.bias"]
    upstream["query_embed.weight"] = torch.zeros(2)
    upstream["class_embed.0.bias"] = torch.zeros(3)
    upstream["backbone.0.layers.0.blocks.0.attn.relative_position_index"] += 1
    with pytest.raises(CheckpointError) as caught:
        load_upstream(network, upstream)
    message = str(caught.value)
    assert "1 missing: transformer.masks.controller.layers.0.bias" in message
    assert "1 unexpected: query_embed.weight" in message
    assert "1 of another shape: class_embed.0.bias [3] (expected [2])" in message
    assert "1 other constants: backbone.0.layers.0.blocks.0.attn.relative_position_index" in message
    assert torch.equal(network.transformer.level_embed, before)


def test_counting_buffers_of_older_libraries_are_accepted_only_if_they_count(network, upstream):
    name = "text_encoder.text_backbone.embeddings.position_ids"
    upstream[name] = torch.arange(512)[None]
    assert load_upstream(network, upstream).constants == 1
    upstream[name] = torch.zeros(1, 512, dtype=torch.int64)
    with pytest.raises(CheckpointError, match="position_ids"):
        load_upstream(network, upstream)


class Payload:
    def __reduce__(self):
        return os.system, ("exit 1",)


def test_files_that_would_run_code_are_refused(tmp_path):
    path = tmp_path / "evil.pth"
    torch.save({"model": {"weight": torch.zeros(1)}, "args": Payload()}, path)
    with pytest.raises(CheckpointError, match="cannot be read as plain weights"):
        read_state(path)


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.pth", b"nonsense"), ("b.safetensors", b"nonsense"), ("c.pth", b""), ("d.safetensors", b"")],
)
def test_damaged_files_are_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError):
        read_state(tmp_path / name)
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        read_state(tmp_path / "missing.pth")


@pytest.mark.parametrize("content", [{"epoch": 3}, {}, [torch.zeros(1)], {"model": {}}])
def test_other_contents_are_refused(tmp_path, content):
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match="state dict"):
        read_state(tmp_path / "other.pth")


def test_prefix_is_dropped_once():
    assert list(strip_module({"module.a": torch.zeros(1), "b.module.c": torch.zeros(1)})) == ["a", "b.module.c"]
