"""A checkpoint folder as training writes it, of a real but untrained light network with its own small vocabulary."""

from __future__ import annotations

from pathlib import Path

import torch

from humar_edge.combos import resolve
from humar_edge.models.text.tite import TiteEncoder, build_tite_vocabulary
from humar_edge.training import checkpoint
from humar_edge.training.build import build_network, describe

COMBO = "tite-ultra-light"


def write_light_checkpoint(folder: Path, size: int = 64) -> Path:
    """Write it; untrained layers that start at zero get random weights, so that prompts and precision show."""
    from light_factory import wake

    torch.manual_seed(0)
    combo = resolve(COMBO, backbone="efficientnet_lite0")
    captions = [f"person in {colour} clothes" for colour in ("red", "green", "blue")]
    encoder = TiteEncoder(build_tite_vocabulary(captions))
    network = build_network(combo, encoder, encoder.dim).eval()
    wake(network)
    with torch.no_grad():
        network.transformer.score_scale.fill_(1.0)
        network.transformer.score_shift.fill_(0.0)
    state = describe(COMBO, combo, size, 32) | {"text_encoder": encoder.description(), "step": 0}
    optimizer = torch.optim.AdamW([next(network.parameters())])
    checkpoint.save(folder, network, network.state_dict(), optimizer, state)
    return folder
