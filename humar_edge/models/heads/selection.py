"""Choosing the person a prompt means: one softmax over the candidates of the picture and "nobody"."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from humar_edge.models.heads.people import People, overlaps
from humar_edge.models.prompting import MASKED, Prompt

LAYERS, HEADS = 2, 4
"""Rounds in which candidates compare themselves, and heads of their attention."""
WORDS = 0.2
"""Scale of the sum over words: captions have some five that matter."""


class Selection(NamedTuple):
    """What a prompt makes of K candidates.

    Attributes:
        logits: float32 [N,K+1]; the last column is "nobody".
        cells: int64 [N,K] of the stride-8 map.
        boxes: float32 [N,K,4] xyxy in units of the canvas.
    """

    logits: Tensor
    cells: Tensor
    boxes: Tensor


class WordsOnPeople(nn.Module):
    """Each word looks for its place on each person, and is compared with what is seen there.

    Attention is normalised and cannot say that nothing fits; the product of a word with what it found can.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = nn.Linear(width, width)
        self.word = nn.Linear(width, width)
        self.mix = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(self, people: People, tokens: Tensor, mask: Tensor) -> Tensor:
        """People with N rows, tokens [N,T,D], mask [N,T] -> [N,K,D]."""
        n, words, width = tokens.shape
        query = self.query(tokens).view(n, 1, words, HEADS, width // HEADS).transpose(2, 3)
        key, value = (x.unflatten(3, (HEADS, width // HEADS)).transpose(2, 3) for x in (people.keys, people.values))
        share = (query @ key.transpose(3, 4) * (width // HEADS) ** -0.5).softmax(-1)
        seen = (share @ value).transpose(2, 3).flatten(3)
        found = F.relu(self.mix(seen * self.word(tokens)[:, None]))
        real = (mask != 0).to(found.dtype)[:, None, :, None]
        total: Tensor = self.out((found * real).sum(2) * WORDS)
        return total


class Comparison(nn.Module):
    """Pre-norm attention among candidates with known relations, attention to words, and a feed-forward part."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm_others, self.norm_words, self.norm_feed = (nn.LayerNorm(width) for _ in range(3))
        self.qkv, self.others = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.query, self.key_value = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.words = nn.Linear(width, width)
        self.feed = nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor, relations: Tensor, tokens: Tensor, hidden: Tensor) -> Tensor:
        """x [N,J,D], relations [N,heads,J,J], tokens [N,T,D], hidden [N,1,1,T] -> [N,J,D]."""
        query, key, value = (split(part) for part in self.qkv(self.norm_others(x)).chunk(3, -1))
        x = x + self.others(attend(query, key, value, relations))
        key, value = (split(part) for part in self.key_value(tokens).chunk(2, -1))
        x = x + self.words(attend(split(self.query(self.norm_words(x))), key, value, hidden))
        y: Tensor = x + self.feed(self.norm_feed(x))
        return y


def split(x: Tensor) -> Tensor:
    """[N,J,D] -> [N,heads,J,D/heads]."""
    return x.unflatten(2, (HEADS, x.shape[2] // HEADS)).transpose(1, 2)


def attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
    """Attention of [N,heads,J,d] over [N,heads,T,d] with logits raised by a bias -> [N,J,heads*d]."""
    logits = query @ key.transpose(2, 3) * query.shape[-1] ** -0.5 + bias
    return (logits.softmax(-1) @ value).transpose(1, 2).flatten(2)


class SelectionHead(nn.Module):
    """Scores of all candidates and of "nobody".

    Args:
        prompt_width: Width of the prompt's tokens.
        width: Width of the candidates' tokens.
    """

    def __init__(self, prompt_width: int, width: int) -> None:
        super().__init__()
        self.tokens = nn.Linear(prompt_width, width)
        self.sentence = nn.Linear(prompt_width, width)
        self.heat = nn.Linear(1, width, bias=False)
        self.match = WordsOnPeople(width)
        self.nobody = nn.Parameter(torch.randn(width) * 0.02)
        self.layers = nn.ModuleList([Comparison(width) for _ in range(LAYERS)])
        self.norm = nn.LayerNorm(width)
        self.score = nn.Linear(width, 1)
        self.none = nn.Linear(width, 1)

    def forward(self, people: People, prompt: Prompt, heat: Tensor | None = None) -> Selection:
        """Choose.

        Args:
            people: N rows.
            prompt: N rows.
            heat: [N,K,G,1] how much of the prompt's points lies on each cell of the grids; None for text.
        """
        if heat is not None:
            marked = self.heat(heat)
            people = people._replace(keys=people.keys + marked, values=people.values + marked)
        tokens, sentence = self.tokens(prompt.tokens), self.sentence(prompt.sentence)
        hidden = (prompt.mask == 0)[:, None, None].to(tokens.dtype) * MASKED
        x = people.person + self.match(people, tokens, prompt.mask)
        nobody = self.nobody.expand(len(x), 1, -1)
        x = torch.cat([x, nobody], 1) + sentence[:, None]
        relations = F.pad(people.relations, (0, 1, 0, 1)).chunk(LAYERS, 1)
        for layer, relation in zip(self.layers, relations, strict=True):
            x = layer(x, relation, tokens, hidden)
        x = self.norm(x)
        logits = torch.cat([self.score(x[:, :-1])[..., 0], self.none(x[:, -1])], 1)
        return Selection(logits.float(), people.cells, people.boxes)


def most_likely(selection: Selection) -> Tensor:
    """The candidate around whom most of the probability lies, int64 [N].

    A person seen close by is several candidates, which share what the person gets: alone, each may have less than
    somebody who is one. So a candidate counts what others of the same place have, by how far their IoU is above a half.
    """
    share = selection.logits[:, :-1].softmax(1)
    same = (2.0 * overlaps(selection.boxes) - 1.0).clamp(min=0.0)
    return (same * share[:, None]).sum(2).argmax(1)


def presence_logit(logits: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Calibrated log-odds that anybody fits: all candidates against "nobody". [N,K+1] -> [N]."""
    return (torch.logsumexp(logits[:, :-1], 1) - logits[:, -1]) * scale + shift


def pick(values: Tensor, index: Tensor) -> Tensor:
    """Row `index` [N] of each of [N,rows,E] -> [N,E]."""
    return values.gather(1, index[:, None, None].expand(-1, 1, values.shape[2]))[:, 0]
