"""A text encoder that learns another one's words."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from humar_edge.models.prompting import TextProjection  # noqa: E402
from humar_edge.models.text.encoder import TransformerTextEncoder  # noqa: E402
from humar_edge.models.text.loading import body_from_config  # noqa: E402
from humar_edge.models.text.tite import TiteEncoder, build_tite_vocabulary  # noqa: E402
from humar_edge.models.tokenizer import small_tokenizer  # noqa: E402
from humar_edge.training import checkpoint  # noqa: E402
from humar_edge.training.recipes import Recipe  # noqa: E402
from humar_edge.training.text_cache import short_tokenizer  # noqa: E402
from humar_edge.training.text_distillation import (  # noqa: E402
    Captions,
    Pupil,
    TextLesson,
    alignment,
    inherit_embeddings,
    learn_text,
    likeness,
)

SAID = ["man in red", "a woman in a green coat", "the second person from the left", "child with a hat"]
RECIPE = Recipe(batch=8, steps=24, warmup=2, text_rate=3e-3, average=0.5, save_every=10, clip=1.0)


def bert(width: int, seed: int = 0) -> TransformerTextEncoder:
    tokenizer = small_tokenizer()
    torch.manual_seed(seed)
    config = {"model_type": "bert", "hidden_size": width, "num_hidden_layers": 1, "num_attention_heads": 4}
    rows = max(tokenizer.get_vocab().values()) + 1
    config |= {"intermediate_size": 32, "vocab_size": rows, "max_position_embeddings": 40}
    return TransformerTextEncoder(body_from_config(config), tokenizer, "mean")


def lesson() -> TextLesson:
    """The pupil reads characters, the teacher reads words."""
    torch.manual_seed(0)
    encoder = TiteEncoder(build_tite_vocabulary(SAID))
    teacher = Pupil(encoder, TextProjection(encoder.dim, 16)).eval().requires_grad_(False)
    return TextLesson(Pupil(bert(16), TextProjection(16, 16)), teacher, 32)


def nothing(*_: object) -> None:
    """Report to nobody."""


def test_the_same_tokens_belong_together() -> None:
    tokenizer = short_tokenizer(bert(16), 32)
    encoded = tokenizer.encode_batch(SAID)
    found = alignment(encoded, encoded)
    assert torch.equal(found, torch.eye(found.shape[1]).expand_as(found))


def test_tokens_of_two_vocabularies_belong_together_by_their_text() -> None:
    lesson_ = lesson()
    ours, theirs = (tokenizer.encode_batch(["man in red", "red"]) for tokenizer in lesson_.tokenizers)
    found = alignment(ours, theirs)
    torch.testing.assert_close(found.sum(2), torch.ones(found.shape[:2]))
    words = [theirs[0].tokens[int(index)] for index in found[0].argmax(1)]
    characters = [token.removeprefix("##") for token in ours[0].tokens]
    assert words[0] == theirs[0].tokens[0]  # the start tokens
    assert [word for word, piece in zip(words, characters, strict=True) if len(piece) == 1] == [
        *["man"] * 3,
        *["in"] * 2,
        *["red"] * 3,
    ]


def test_captions_follow_from_their_number_and_hold_strange_words() -> None:
    captions = Captions(SAID, ["zeppelin", "##ing", "[CLS]", "ox", "violin"], 3)
    assert captions.any == ["violin", "zeppelin"]
    first = captions.batch(5, 40)
    assert first == Captions(SAID, ["violin", "zeppelin"], 3).batch(5, 40) != captions.batch(6, 40)
    assert all(caption.strip() for caption in first)
    assert any("zeppelin" in caption for caption in first) and any(caption in SAID for caption in first)


def test_a_pupil_comes_closer_and_continues(tmp_path: Path) -> None:
    taught, captions = lesson(), Captions(SAID, [], 0)
    frozen = {key: value.clone() for key, value in taught.teacher.state_dict().items()}
    before = likeness(taught, SAID)
    losses: list[float] = []
    stopped = learn_text(
        taught, captions, RECIPE, tmp_path / "text", {"combo": "x"}, lambda *told: losses.append(told[3]["loss"])
    )
    assert stopped is None and len(losses) == RECIPE.steps and losses[-1] < 0.8 * losses[0]
    after = likeness(taught, SAID)
    assert all(after[name] > before[name] + 0.1 for name in after)
    assert all(torch.equal(value, taught.teacher.state_dict()[key]) for key, value in frozen.items())
    again = lesson()
    more: list[int] = []
    learn_text(again, captions, RECIPE, tmp_path / "text", {}, lambda *told: more.append(told[0]))
    assert not more  # it was complete
    assert likeness(again, SAID) == pytest.approx(after, abs=1e-5)


def test_a_run_in_two_parts_ends_as_one(tmp_path: Path) -> None:
    from dataclasses import replace

    captions = Captions(SAID, [], 0)
    whole, half = lesson(), lesson()
    constant = replace(RECIPE, schedule="step", steps=8)
    learn_text(whole, captions, constant, tmp_path / "whole", {}, nothing)

    class Stop(Exception):
        pass

    def interrupt(step: int, *_: object) -> None:
        if step == 6:
            raise Stop

    with pytest.raises(Stop):
        learn_text(half, captions, replace(constant, save_every=3), tmp_path / "half", {}, interrupt)
    assert checkpoint.read_state(tmp_path / "half")["step"] == 3
    half = lesson()
    learn_text(half, captions, constant, tmp_path / "half", {}, nothing)
    for ours, theirs in zip(half.pupil.state_dict().values(), whole.pupil.state_dict().values(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_embeddings_are_inherited_on_their_principal_axes() -> None:
    pupil, teacher = bert(8, 1), bert(16, 2)
    assert inherit_embeddings(pupil, teacher)
    ours, theirs = pupil.embeddings().weight, teacher.embeddings().weight
    assert ours.shape[1] == 8
    kept = float(((ours - ours.mean(0)).square().sum() / (theirs - theirs.mean(0)).square().sum()).detach())
    assert 0.5 < kept < 1  # more than half of the axes' share, as they are the largest
    assert not inherit_embeddings(bert(32), teacher)
    assert not inherit_embeddings(TiteEncoder(build_tite_vocabulary(SAID)), teacher)
