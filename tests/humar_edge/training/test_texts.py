"""Text encoders that are trained: their vocabulary, their gradients, their way through a checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from tiny_training import tiny_encoder, tiny_network, tiny_trainer, write_people  # noqa: E402

from humar_edge.data.refhuman import RefHumanIndex  # noqa: E402
from humar_edge.training.recipes import Recipe  # noqa: E402
from humar_edge.training.step import LightStep, LiveText  # noqa: E402
from humar_edge.training.text_cache import short_tokenizer  # noqa: E402
from humar_edge.training.texts import heard, open_encoder  # noqa: E402


def test_the_vocabulary_knows_what_augmentation_says(tmp_path: Path) -> None:
    entries = RefHumanIndex.load(write_people(tmp_path, splits=("train",)), "train").entries
    captions = heard(entries)
    assert len(captions) == 9 and "person in red clothes" in captions
    encoder = open_encoder("tite", entries, None)
    assert "[UNK]" not in encoder.tokenizer.encode("person in blue clothes").tokens
    assert encoder.tokenizer.token_to_id("clothes") is not None and encoder.tokenizer.token_to_id("green") is not None
    (tmp_path / "vocabulary").mkdir()
    encoder.tokenizer.save(str(tmp_path / "vocabulary" / "tokenizer.json"))
    again = open_encoder("tite", [], tmp_path / "vocabulary")
    assert again.tokenizer.get_vocab() == encoder.tokenizer.get_vocab()


def test_a_trained_encoder_learns_and_is_stored(tmp_path: Path) -> None:
    data = write_people(tmp_path / "data", splits=("train",))
    encoder = tiny_encoder()
    network = tiny_network(encoder)
    network.text_encoder = encoder
    texts = LiveText(encoder, short_tokenizer(encoder, 32))
    words, mask, sentence = texts(["person in red", "red"])
    assert words.shape[:2] == mask.shape and mask.sum(1).tolist() == [4, 2] and sentence.requires_grad
    maker = tiny_trainer(data, tmp_path / "other", Recipe(batch=2)).maker
    from humar_edge.training.loop import Trainer

    module = LightStep(network, texts, 4)
    state = {"text_encoder": encoder.description()}
    recipe = Recipe(batch=2, steps=2, text_rate=1e-2, warmup=0)
    trainer = Trainer(network, texts, maker, recipe, tmp_path / "run", state, module=module)
    before = encoder.tokens.weight.detach().clone()
    path = trainer.run(lambda *_: None)
    assert not torch.equal(before, encoder.tokens.weight)
    from humar_edge.models.text import restore_text_encoder
    from humar_edge.training import checkpoint

    restored = restore_text_encoder(checkpoint.read_state(path)["text_encoder"])
    weights = checkpoint.read_weights(path, checkpoint.WEIGHTS)
    prefix = "text_encoder."
    restored.load_state_dict({k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)})
    ids = torch.tensor([restored.tokenizer.encode("person in red").ids])
    assert torch.equal(restored(ids, torch.ones_like(ids))[1], encoder(ids, torch.ones_like(ids))[1])
