"""What every light family must do, on small networks with random weights and rectangular pictures."""

from __future__ import annotations

from typing import NamedTuple

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("humar_edge.models.torchvision_guard").guard_torchvision()
for needed in ("timm", "tokenizers", "accelerate"):
    pytest.importorskip(needed)

from light_factory import FAMILIES, TEXT_DIM, Texts, colour_maker, network, pictures, wake  # noqa: E402

from humar_edge.combos import BACKBONES  # noqa: E402
from humar_edge.models.heads.proposals import PEAKS  # noqa: E402
from humar_edge.models.heads.selection import most_likely  # noqa: E402
from humar_edge.models.network import HumarNet  # noqa: E402
from humar_edge.models.prompting import Prompt  # noqa: E402
from humar_edge.models.transformers import build_transformer  # noqa: E402
from humar_edge.training.batch import collate  # noqa: E402
from humar_edge.training.step import LightStep  # noqa: E402
from humar_edge.training.text_cache import join  # noqa: E402

HEIGHT, WIDTH = 64, 96
BUDGETS = {"fully_conv_optim": (2.0e6, 3.0e6), "efficient": (9.9e6, 12.1e6), "fully_conv": (10.8e6, 13.2e6)}


class Subject(NamedTuple):
    """A network, two pictures, and word features of two prompts of different lengths."""

    family: str
    network: HumarNet
    image: torch.Tensor
    words: torch.Tensor
    mask: torch.Tensor
    sentence: torch.Tensor

    def both(self, prompt: Prompt) -> tuple[torch.Tensor, torch.Tensor]:
        """What depends on the prompt: the map in which people are decoded, and the logits of choosing one."""
        transformer = self.network.transformer
        with torch.no_grad():
            pyramid, _, people = self.network.scene(self.image)
            return transformer.fusion(pyramid, prompt), transformer.select(people, prompt).logits

    def prompt(self, length: int | None = None) -> Prompt:
        """The prompts; padded with noise to `length` tokens."""
        words, mask = self.words, self.mask
        if length is not None:
            noise = torch.randn(len(words), length - words.shape[1], TEXT_DIM) * 5
            words = torch.cat([words, noise], 1)
            mask = torch.nn.functional.pad(mask, (0, noise.shape[1]))
        return self.network.transformer.text_prompt(words, mask, self.sentence)


@pytest.fixture(scope="module", params=FAMILIES)
def subject(request: pytest.FixtureRequest) -> Subject:
    net = network(request.param)
    wake(net)
    image = pictures(2, HEIGHT, WIDTH)
    features = Texts()(["the person in red", "someone who waves to the crowd"])
    found = Subject(request.param, net, image, *features)
    with torch.no_grad():
        for _ in range(3):  # statistics of the norms, so that activations are of order one
            net.train()(image, *found.prompt()[:3])
    net.eval()
    return found


def detect(subject: Subject, image: torch.Tensor, prompt: Prompt):
    with torch.no_grad():
        return subject.network(image, *prompt[:3])


def assert_same(one, other, tolerance: float = 2e-5) -> None:
    for name, left, right in zip(one._fields, one, other, strict=True):
        scale = max(1.0, float(left.abs().max()))
        torch.testing.assert_close(left, right, atol=tolerance * scale, rtol=0, msg=lambda text, n=name: f"{n}: {text}")


@pytest.mark.parametrize("family", FAMILIES)
def test_parameters_with_heads_are_within_the_budget(family: str) -> None:
    with torch.device("meta"):
        transformer = build_transformer(family, BACKBONES["segformer_b0"].channels, 384)
    low, high = BUDGETS[family]
    assert low <= sum(parameter.numel() for parameter in transformer.parameters()) <= high


def test_outputs_have_the_contract_s_shapes_and_ranges(subject: Subject) -> None:
    found = detect(subject, subject.image, subject.prompt())
    assert [tuple(value.shape) for value in found] == [(2,), (2, 4), (2, 17, 3), (2, HEIGHT // 4, WIDTH // 4)]
    assert all(value.dtype == torch.float32 and torch.isfinite(value).all() for value in found)
    assert ((found.score >= 0) & (found.score <= 1)).all()
    corners = torch.cat([found.box[:, :2] - found.box[:, 2:] / 2, found.box[:, :2] + found.box[:, 2:] / 2], 1)
    assert (corners >= -1e-6).all() and (corners <= 1 + 1e-6).all()
    assert ((found.keypoints[..., 2] >= 0) & (found.keypoints[..., 2] <= 1)).all()


def test_pyramid_and_conditioned_map_have_the_strides(subject: Subject) -> None:
    with torch.no_grad():
        pyramid, proposals, people = subject.network.scene(subject.image)
    conditioned, logits = subject.both(subject.prompt())
    assert [tuple(level.shape[-2:]) for level in pyramid] == [(HEIGHT // s, WIDTH // s) for s in (4, 8, 16, 32)]
    assert conditioned.shape == pyramid.p3.shape
    assert proposals.objectness.shape == (2, HEIGHT // 8 * WIDTH // 8)
    assert people.cells.shape == (2, PEAKS) and logits.shape == (2, PEAKS + 1)


def test_the_chosen_candidate_is_decoded_and_nobody_else(subject: Subject) -> None:
    net, prompt = subject.network, subject.prompt()
    with torch.no_grad():
        pyramid, _, people = net.scene(subject.image)
        for place, chosen in enumerate(most_likely(net.transformer.select(people, prompt)).tolist()):
            row = torch.tensor([place])
            cell, box = people.cells[place, chosen], people.boxes[place, chosen]
            instance = net.transformer.decode(pyramid.rows(row), prompt.rows(row), cell[None], box[None])
            whole = detect(subject, subject.image[row], prompt.rows(row))
            torch.testing.assert_close(whole.keypoints[..., :2], instance.keypoints)


def test_padding_of_the_text_changes_nothing(subject: Subject) -> None:
    torch.manual_seed(3)
    assert_same(
        detect(subject, subject.image, subject.prompt()), detect(subject, subject.image, subject.prompt(length=32))
    )


def test_every_real_word_counts(subject: Subject) -> None:
    prompt = subject.prompt()
    short = prompt.mask.clone()
    short[1, -1] = 0
    for whole, cut in zip(subject.both(prompt), subject.both(prompt._replace(mask=short)), strict=True):
        torch.testing.assert_close(whole[0], cut[0])
        assert not torch.allclose(whole[1], cut[1], atol=1e-4)


def test_sentence_changes_the_map_and_the_choice(subject: Subject) -> None:
    prompt = subject.prompt()
    other = prompt._replace(sentence=prompt.sentence.flip(0))
    for one, two in zip(subject.both(prompt), subject.both(other), strict=True):
        assert not torch.allclose(one, two, atol=1e-3)


def test_several_prompts_on_one_picture_equal_single_ones(subject: Subject) -> None:
    net, prompt = subject.network, subject.prompt()
    with torch.no_grad():
        pyramid, _, people = net.scene(subject.image)
        rows = torch.tensor([1, 1])
        together = net.transformer(pyramid.rows(rows), people.rows(rows), prompt)
    for row in range(2):
        alone = detect(subject, subject.image[1:], prompt.rows(torch.tensor([row])))
        assert_same(alone, type(together)(*(value[row : row + 1] for value in together)))


def test_words_and_points_in_one_batch_equal_single_prompts(subject: Subject) -> None:
    torch.manual_seed(5)
    net, points = subject.network, torch.rand(1, 12, 2)
    with torch.no_grad():
        pyramid, _, people = net.scene(subject.image)
        pointed = net.transformer.point_prompt(pyramid.rows(torch.tensor([1])), points)
        together = net.transformer(pyramid, people, join(subject.prompt(), pointed, torch.tensor([1])))
        point = net.forward_points(subject.image[1:], points)
    word = detect(subject, subject.image[:1], subject.prompt().rows(torch.tensor([0])))
    for row, alone in enumerate((word, point)):
        assert_same(alone, type(together)(*(value[row : row + 1] for value in together)))


def test_the_nobody_logit_decides_on_presence_and_nothing_else(subject: Subject) -> None:
    last = subject.network.transformer.selection.none
    kept, found = last.bias.detach().clone(), {}
    try:
        for shift in (-60.0, 60.0):
            last.bias.data.fill_(shift)
            found[shift] = detect(subject, subject.image, subject.prompt())
    finally:
        last.bias.data.copy_(kept)
    assert (found[-60.0].score > 0.999).all() and (found[60.0].score < 0.001).all()
    for name in ("box", "keypoints", "mask"):
        torch.testing.assert_close(getattr(found[-60.0], name), getattr(found[60.0], name))


def test_calibration_scales_the_log_odds(subject: Subject) -> None:
    transformer = subject.network.transformer
    plain = torch.logit(detect(subject, subject.image, subject.prompt()).score.double())
    try:
        transformer.score_scale.fill_(0.5)
        transformer.score_shift.fill_(0.25)
        moved = torch.logit(detect(subject, subject.image, subject.prompt()).score.double())
    finally:
        transformer.score_scale.fill_(1.0)
        transformer.score_shift.fill_(0.0)
    torch.testing.assert_close(moved, plain * 0.5 + 0.25, atol=1e-3, rtol=1e-3)


def test_points_are_prompts_whose_order_does_not_matter(subject: Subject) -> None:
    torch.manual_seed(4)
    points = torch.rand(2, 12, 2)
    with torch.no_grad():
        one = subject.network.forward_points(subject.image, points)
        shuffled = subject.network.forward_points(subject.image, points[:, torch.randperm(12)])
    assert one.mask.shape == (2, HEIGHT // 4, WIDTH // 4)
    assert_same(one, shuffled)


def test_points_mark_where_they_are(subject: Subject) -> None:
    """Rows differ from those of the same tokens without the heat, and most where the points lie."""
    net = subject.network
    points = torch.tensor([0.2, 0.3]).expand(2, 12, 2)
    with torch.no_grad():
        pyramid = net.pyramid(subject.image)
        prompt = net.transformer.point_prompt(pyramid, points)
        change = net.transformer.fusion(pyramid, prompt) - net.transformer.fusion(pyramid, prompt._replace(heat=None))
    row, column = divmod(int(prompt.heat[0, 0].argmax()), WIDTH // 8)
    assert (row, column) in {(1, 1), (2, 1), (1, 2), (2, 2)}
    size = change.square().sum(1)[0]
    top, left = max(0, row - 1), max(0, column - 1)
    assert size[top : row + 2, left : column + 2].mean() > 2 * size.mean()


def test_points_bear_on_the_choice(subject: Subject) -> None:
    net, points = subject.network, torch.tensor([0.4, 0.6]).expand(2, 12, 2)
    with torch.no_grad():
        pyramid, _, people = net.scene(subject.image)
        prompt = net.transformer.point_prompt(pyramid, points)
        logits = [net.transformer.select(people, p).logits for p in (prompt, prompt._replace(heat=None))]
    assert not torch.allclose(*logits, atol=1e-4)


def test_gradients_reach_every_parameter(subject: Subject, tmp_path) -> None:
    net = network(subject.family)
    wake(net)
    maker = colour_maker(tmp_path, positional=1.0)
    text = colour_maker(tmp_path / "text")
    batch = collate([maker.make(0, 1), text.make(0, 1), text.make(1, 1)])
    assert len(batch.pointed) and not batch.present.all()
    step = LightStep(net.train(), Texts(), decoded=10)
    sum(step(batch).values()).backward()
    silent = [
        name
        for name, parameter in net.transformer.named_parameters()
        if parameter.grad is None or not torch.isfinite(parameter.grad).all() or not parameter.grad.any()
    ]
    assert silent == []
