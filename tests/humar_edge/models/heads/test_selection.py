"""Choosing among candidates and "nobody"."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from humar_edge.models.heads.people import GRID, People  # noqa: E402
from humar_edge.models.heads.selection import (  # noqa: E402
    HEADS,
    LAYERS,
    WORDS,
    Selection,
    SelectionHead,
    WordsOnPeople,
    attend,
    most_likely,
    pick,
    presence_logit,
)
from humar_edge.models.prompting import Prompt  # noqa: E402

PROMPT_WIDTH, WIDTH, CELLS = 12, 16, GRID[0] * GRID[1]


def head() -> SelectionHead:
    torch.manual_seed(0)
    return SelectionHead(PROMPT_WIDTH, WIDTH).eval().requires_grad_(False)


def people(rows: int, count: int = 5, seed: int = 1) -> People:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(rows, *shape, generator=generator)

    cells = torch.randint(100, (rows, count), generator=generator)
    tokens = normal(count, WIDTH), normal(count, CELLS, WIDTH), normal(count, CELLS, WIDTH)
    return People(cells, normal(count, 4), *tokens, normal(LAYERS * HEADS, count, count))


def prompts(*lengths: int, seed: int = 2) -> Prompt:
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randn(len(lengths), max(lengths), PROMPT_WIDTH, generator=generator)
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    return Prompt(tokens, mask, torch.randn(len(lengths), PROMPT_WIDTH, generator=generator))


def marked(rows: int, count: int, who: int, amount: float = 1.0) -> torch.Tensor:
    heat = torch.zeros(rows, count, CELLS, 1)
    heat[:, who, 8:20] = amount
    return heat


def test_every_candidate_and_nobody_have_a_logit() -> None:
    found = head()(people(2), prompts(3, 4))
    assert found.logits.shape == (2, 6) and found.logits.dtype == torch.float32
    assert torch.equal(found.cells, people(2).cells) and torch.equal(found.boxes, people(2).boxes)


@settings(max_examples=20, deadline=None)
@given(order=st.permutations(range(5)))
def test_the_order_of_candidates_is_only_an_order(order: list[int]) -> None:
    module, crowd, prompt = head(), people(2), prompts(3, 4)
    heat = marked(2, 5, 3)
    one = module(crowd, prompt, heat)
    moved = People(*(value[:, order] for value in crowd[:5]), crowd.relations[:, :, order][..., order])
    other = module(moved, prompt, heat[:, order])
    torch.testing.assert_close(other.logits[:, :-1], one.logits[:, order], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(other.logits[:, -1], one.logits[:, -1], atol=1e-5, rtol=1e-5)
    assert torch.equal(other.cells, one.cells[:, order])


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), more=st.integers(1, 20))
def test_padding_words_change_nothing(seed: int, more: int) -> None:
    module, prompt = head(), prompts(3, 5)
    noise = torch.randn(2, more, PROMPT_WIDTH, generator=torch.Generator().manual_seed(seed)) * 10
    longer = Prompt(torch.cat([prompt.tokens, noise], 1), F.pad(prompt.mask, (0, more)), prompt.sentence)
    one, other = module(people(2), prompt), module(people(2), longer)
    torch.testing.assert_close(other.logits, one.logits, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("word", range(4))
def test_every_real_word_matters(word: int) -> None:
    module, prompt = head(), prompts(4)
    without, other = prompt.mask.clone(), prompt.tokens.clone()
    without[0, word] = 0
    other[0, word] = other[0, word].flip(0)
    whole = module(people(1), prompt).logits
    for changed in (prompt._replace(mask=without), prompt._replace(tokens=other)):
        assert (module(people(1), changed).logits - whole).abs().min() > 1e-5


def test_the_sentence_matters() -> None:
    module, prompt = head(), prompts(4)
    other = prompt._replace(sentence=-prompt.sentence)
    assert (module(people(1), prompt).logits - module(people(1), other).logits).abs().min() > 1e-4


def test_prompts_in_a_batch_are_single_prompts() -> None:
    module, crowd, prompt = head(), people(3), prompts(4, 2, 3)
    together = module(crowd, prompt, marked(3, 5, 1)).logits
    for row in range(3):
        index, length = torch.tensor([row]), int(prompt.mask[row].sum())
        single = prompt.rows(index)
        single = single._replace(tokens=single.tokens[:, :length], mask=single.mask[:, :length])
        alone = module(crowd.rows(index), single, marked(1, 5, 1)).logits
        torch.testing.assert_close(alone[0], together[row], atol=1e-5, rtol=1e-5)


def test_a_prompt_without_points_in_a_batch_with_points_is_text() -> None:
    module, crowd, prompt = head(), people(2), prompts(3, 4)
    torch.testing.assert_close(
        module(crowd, prompt, torch.zeros(2, 5, CELLS, 1)).logits, module(crowd, prompt).logits, atol=0, rtol=0
    )


@pytest.mark.parametrize("who", range(5))
def test_heat_changes_what_is_found_on_the_person_it_lies_on(who: int) -> None:
    module, seen = head(), []
    module.match.register_forward_hook(lambda _, inputs, output: seen.append(output))
    changes = []
    for heat in (None, marked(1, 5, who), marked(1, 5, who, 3.0)):
        changes.append(module(people(1), prompts(4), heat).logits)
    weak, strong = ((found - seen[0]).abs().amax(-1)[0] for found in seen[1:])
    assert weak.nonzero()[:, 0].tolist() == strong.nonzero()[:, 0].tolist() == [who]
    assert strong[who] > weak[who] > 1e-3
    logits = (changes[2] - changes[0])[0, :-1].abs()
    assert logits.argmax() == who, "others hear of it only by comparison"


def test_words_are_looked_for_on_each_person_and_compared_with_what_is_there() -> None:
    torch.manual_seed(0)
    module = WordsOnPeople(WIDTH).requires_grad_(False)
    crowd, tokens, mask = people(2, 3), torch.randn(2, 4, WIDTH), torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    found, width = module(crowd, tokens, mask), WIDTH // HEADS
    for row in range(2):
        for person in range(3):
            total = torch.zeros(WIDTH)
            for word in range(int(mask[row].sum())):
                query, seen = module.query(tokens[row, word]), torch.empty(WIDTH)
                for part in (slice(start, start + width) for start in range(0, WIDTH, width)):
                    keys, values = crowd.keys[row, person, :, part], crowd.values[row, person, :, part]
                    seen[part] = (keys @ query[part] / math.sqrt(width)).softmax(0) @ values
                total += module.mix(seen * module.word(tokens[row, word])).relu()
            torch.testing.assert_close(found[row, person], module.out(total * WORDS), atol=1e-5, rtol=1e-5)


def test_attention_is_scaled_dot_product_attention_with_a_bias() -> None:
    torch.manual_seed(0)
    query, key, value = torch.randn(2, HEADS, 3, 4), torch.randn(2, HEADS, 5, 4), torch.randn(2, HEADS, 5, 4)
    bias = torch.randn(2, HEADS, 3, 5)
    expected = F.scaled_dot_product_attention(query, key, value, attn_mask=bias).transpose(1, 2).flatten(2)
    torch.testing.assert_close(attend(query, key, value, bias), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("layer", range(LAYERS))
def test_each_layer_has_its_own_relations_and_nobody_has_none(layer: int) -> None:
    module, crowd, prompt = head(), people(1, 4), prompts(3)
    seen: list[torch.Tensor] = []
    module.layers[layer].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[1]))
    relations = torch.zeros_like(crowd.relations)
    part = slice(layer * HEADS, (layer + 1) * HEADS)
    relations[:, part] = crowd.relations[:, part]
    module(crowd._replace(relations=relations), prompt)
    assert torch.equal(seen[0][..., :4, :4], crowd.relations[:, part])
    assert not seen[0][..., 4, :].any() and not seen[0][..., 4].any()


def test_presence_is_the_calibrated_log_odds_of_all_candidates_against_nobody() -> None:
    logits = torch.tensor([[1.0, 2.0, 0.5], [0.0, -1.0, 3.0]])
    found = presence_logit(logits, torch.tensor(0.5), torch.tensor(-0.25))
    for row, (one, other, nobody) in enumerate(logits.tolist()):
        share = (math.exp(one) + math.exp(other)) / math.exp(nobody)
        assert found[row].item() == pytest.approx(0.5 * math.log(share) - 0.25, abs=1e-5)


def test_pick_takes_one_row_of_each() -> None:
    values = torch.arange(24.0).view(2, 4, 3)
    assert pick(values, torch.tensor([2, 0])).tolist() == [[6, 7, 8], [12, 13, 14]]


def choice(shares: list[float], boxes: list[list[float]]) -> Selection:
    """Candidates with given shares of the probability; "nobody" has the rest."""
    logits = torch.tensor([[*shares, 1.0 - sum(shares)]]).log()
    return Selection(logits, torch.arange(len(boxes))[None], torch.tensor([boxes]))


def test_a_person_seen_as_several_candidates_has_what_they_have_together() -> None:
    close = [[0.1, 0.1, 0.5, 0.9], [0.1, 0.1, 0.5, 0.88], [0.12, 0.1, 0.5, 0.9]]
    assert most_likely(choice([0.2, 0.2, 0.15, 0.4], [*close, [0.6, 0.1, 0.9, 0.9]])).tolist() == [0]
    apart = [[0.1, 0.1, 0.2, 0.9], [0.3, 0.1, 0.4, 0.9], [0.45, 0.1, 0.55, 0.9]]
    assert most_likely(choice([0.2, 0.2, 0.15, 0.4], [*apart, [0.6, 0.1, 0.9, 0.9]])).tolist() == [3]


def test_a_candidate_that_overlaps_by_half_or_less_lends_nothing() -> None:
    half = [0.1, 0.1, 0.5, 0.5], [0.1, 0.1, 0.5, 0.9]
    assert most_likely(choice([0.3, 0.25, 0.4], [*half, [0.6, 0.1, 0.9, 0.9]])).tolist() == [2]


@given(st.lists(st.floats(0.01, 1.0), min_size=2, max_size=6))
def test_where_nobody_overlaps_the_best_candidate_is_the_most_likely(weights: list[float]) -> None:
    shares = [0.9 * weight / sum(weights) for weight in weights]
    boxes = [[0.1 * k, 0.1, 0.1 * k + 0.08, 0.3] for k in range(len(weights))]
    chosen = most_likely(choice(shares, boxes)).item()
    assert shares[chosen] == pytest.approx(max(shares), rel=1e-3)
