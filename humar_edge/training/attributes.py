"""Auxiliary loss: the description of a candidate must tell what the person wears, before any prompt is read.

Words are bound to what the description says. Choosing alone teaches very slowly that clothes have colours, since a
whole caption yields one bit of choice; naming the attributes of every annotated person teaches it directly. The head
that names them stays in training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

from humar_edge.data.entries import Entry
from humar_edge.data.refhuman import RefHumanIndex
from humar_edge.training.shared import shared_counts

RARE = 3.0
"""Weight of what is true of a person: most attributes are not."""


def join_tables(indices: Sequence[RefHumanIndex]) -> tuple[tuple[str, ...], list[Entry]]:
    """All entries, with attributes in the order of one table: the union of those of the data sets."""
    names = tuple(dict.fromkeys(name for index in indices for name in index.attributes))
    return names, [entry for index in indices for entry in _in_order(index, names)]


def _in_order(index: RefHumanIndex, names: tuple[str, ...]) -> list[Entry]:
    if index.attributes in ((), names):
        return index.entries
    places = [index.attributes.index(name) if name in index.attributes else -1 for name in names]

    @cache
    def ordered(known: str) -> str:
        return "".join((known + "?")[place] for place in places)

    return [
        replace(entry, attributes=ordered(entry.attributes)) if entry.attributes else entry for entry in index.entries
    ]


def attribute_loss(logits: Tensor, owner: Tensor, target: Tensor, known: Tensor) -> Tensor:
    """Binary cross-entropy of all known attributes, averaged over the candidates that are each person.

    Args:
        logits: [B,K,A] of the candidates of the pictures.
        owner: int64 [P] picture of each person.
        target: [P,K], see `losses.candidate_targets`.
        known: int8 [P,A] 1 true, 0 false, -1 unknown.

    Returns:
        Scalar: the sum over people and attributes, divided by the number of known ones.
    """
    z = logits[..., : known.shape[1]].float()[owner]
    if_true = torch.einsum("pka,pk->pa", F.softplus(-z), target)
    if_false = torch.einsum("pka,pk->pa", F.softplus(z), target)
    total = (RARE * if_true * (known == 1) + if_false * (known == 0)).sum()
    (count,) = shared_counts((known >= 0).sum(), device=logits.device)
    return total / count
