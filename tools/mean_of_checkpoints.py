"""Mean of the weights of checkpoints of one network: often better than each of them.

    python tools/mean_of_checkpoints.py runs/a/last runs/b/last --output runs/mean/last

Wortsman et al., "Model soups", ICML 2022: this works for runs that began with the same weights. Batch norms are folded
before, because the mean of two statistics is not the statistics of a mean. The head that names attributes in training
is left out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import torch
from torch import Tensor
from user_errors import Command

from humar_edge.training import checkpoint
from humar_edge.training.build import load_network
from humar_edge.training.norms import fold_norms

KEPT = ("combo", "components", "overrides", "token_length", "text_encoder", "fixed_backbone", "thresholds")
"""What the first checkpoint's state says about the mean; its metrics are not those of the mean."""


def open_folded(path: Path) -> tuple[Any, dict[str, Any]]:
    """Network of a checkpoint with folded norms, without a frozen text encoder, and its state."""
    network, state = load_network(path)
    fold_norms(network)
    if "text_encoder" not in state:
        network.text_encoder = None
    return network, state


def mean(tensors: list[Tensor]) -> Tensor:
    """Mean of floating-point tensors, the first of others."""
    first = tensors[0]
    return torch.stack(tensors).mean(0) if first.is_floating_point() else first


@click.command(cls=Command)
@click.argument("checkpoints", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(path_type=Path), required=True, help="Checkpoint folder to write.")
@click.option("--imgsz", type=click.IntRange(32), help="Side of the input; default: the first checkpoint's.")
def main(checkpoints: tuple[Path, ...], output: Path, imgsz: int | None) -> None:
    """Write the mean of the averaged weights of CHECKPOINTS."""
    if output.exists():
        raise click.UsageError(f"{output} exists")
    opened = [open_folded(path) for path in checkpoints]
    network, state = opened[0]
    found = [network.state_dict() for network, _ in opened]
    shapes = [{name: value.shape for name, value in weights.items()} for weights in found]
    for path, shape in zip(checkpoints, shapes, strict=True):
        if shape != shapes[0]:
            raise click.UsageError(f"{path} is of another network than {checkpoints[0]}")
    network.load_state_dict({name: mean([weights[name] for weights in found]) for name in found[0]})
    size = [imgsz, imgsz] if imgsz else state["input_size"]
    kept = {key: state[key] for key in KEPT if key in state} | {"input_size": size, "step": 0}
    checkpoint.save(output, network, network.state_dict(), None, kept)
    click.echo(f"wrote {output}; next: humar-edge calibrate --presence --checkpoint {output} --data DIR")


if __name__ == "__main__":
    main()
