"""One forward pass of training as a module, so that data-parallel wrappers see every parameter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from humar_edge.models.network import HumarNet
from humar_edge.models.prompting import Prompt
from humar_edge.models.transformers.light import Pyramid
from humar_edge.training.attributes import attribute_loss
from humar_edge.training.batch import Batch
from humar_edge.training.losses import LOSSES, Decoding, decode_and_compare
from humar_edge.training.text_cache import join

Texts = Callable[[list[str]], tuple[Tensor, Tensor, Tensor]]
"""Captions -> words [N,T,d], mask [N,T], sentences [N,d]."""


class Teacher(Protocol):
    """Adds losses against another network's answers; see `distillation.Teacher`."""

    names: tuple[str, ...]

    def losses(self, batch: Batch, decoding: Decoding) -> dict[str, Tensor]:
        """Parts of the loss, weighted."""


def build_prompt(network: HumarNet, texts: Texts, batch: Batch, pyramid: Pyramid) -> Prompt:
    """One prompt per row of the batch: text, or points where the batch says so."""
    device = batch.image.device
    words, mask, sentence = (x.to(device) for x in texts(batch.captions))
    prompt: Prompt = network.transformer.text_prompt(words, mask, sentence)
    if not len(batch.pointed):
        return prompt
    read = pyramid.rows(batch.owner[batch.pointed])
    return join(prompt, network.transformer.point_prompt(read, batch.points), batch.pointed)


class LightStep(nn.Module):
    """A light network and its losses.

    Args:
        network: With its text encoder where that is trained.
        texts: Word features of captions.
        decoded: People whose keypoints and mask are decoded.
        teacher: Another network to learn from.
        select_weight: Factor of the loss of choosing the person.
        attribute_weight: Factor of the loss of naming attributes, where the network has a head for them.

    Attributes:
        fixed_backbone: Norms of the backbone keep their statistics; not where it starts from random weights.
    """

    fixed_backbone = True

    def __init__(
        self,
        network: HumarNet,
        texts: Texts,
        decoded: int | None,
        teacher: Teacher | None = None,
        select_weight: float = 1.0,
        attribute_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.network = network
        self.texts, self.decoded = texts, decoded
        self.select_weight, self.attribute_weight = select_weight, attribute_weight
        self._others = (teacher,)  # in a tuple, so that its weights are not taken for this module's

    @property
    def names(self) -> tuple[str, ...]:
        """Parts of the loss; `forward` returns all of them, whatever is in the batch."""
        teacher = self._others[0]
        attributes = ("attributes",) if self.network.attributes is not None else ()
        return LOSSES + attributes + (teacher.names if teacher else ())

    def prepare_modes(self) -> None:
        """After `train()`: backbone norms keep ImageNet's statistics, batches are too small for their own.

        Parts that do not learn compute as they will in use.
        """
        if self.fixed_backbone:
            self.network.backbone.eval()
        for part in (*self.network.transformer.children(), self.network.text_encoder):
            if part is not None and not any(parameter.requires_grad for parameter in part.parameters()):
                part.eval()

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Parts of the loss, weighted; their sum is the loss."""
        scene = self.network.scene(batch.image)
        prompt = build_prompt(self.network, self.texts, batch, scene.pyramid)
        parts, decoding = decode_and_compare(self.network.transformer, scene, prompt, batch, self.decoded)
        parts["select"] = self.select_weight * parts["select"]
        if (head := self.network.attributes) is not None:
            owner, known = batch.owner[batch.present], batch.attributes[batch.present]
            naming = attribute_loss(head(scene.people.person), owner, decoding.target, known)
            parts["attributes"] = self.attribute_weight * naming
        if (teacher := self._others[0]) is not None:
            parts |= teacher.losses(batch, decoding)
        nothing = torch.zeros((), device=batch.image.device)
        return {name: parts.get(name, nothing) for name in self.names}


class LiveText:
    """Word features of a text encoder that is being trained: nothing is cached.

    Args:
        encoder: With `.tokenizer`; its gradients flow.
        tokenizer: A copy that pads to the longest caption of a batch.
    """

    def __init__(self, encoder: Any, tokenizer: Any) -> None:
        self._encoder = (encoder,)
        self.tokenizer = tokenizer

    def __call__(self, captions: list[str]) -> tuple[Tensor, Tensor, Tensor]:
        """See `Texts`."""
        encoder = self._encoder[0]
        device = next(encoder.parameters()).device
        encoded = self.tokenizer.encode_batch(captions)
        ids = torch.tensor([e.ids for e in encoded], device=device)
        mask = torch.tensor([e.attention_mask for e in encoded], device=device)
        words, sentence = encoder(ids, mask)
        return words, mask, sentence
