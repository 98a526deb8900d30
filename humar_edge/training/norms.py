"""Batch norms without statistics, as an engine has them: made, found, and given statistics again to be trained.

What `humar-edge unpack` finds of a batch norm only adds. Trained as it is, such a norm would divide by the deviation of
each batch all the same, and the network would be another one from the first step on.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from humar_edge.training.batch import Batch

PICTURES = 64
"""Pictures that statistics come from; each has hundreds of places."""


def folded_norms(network: nn.Module) -> list[_BatchNorm]:
    """Batch norms without statistics of their own; fresh ones have a variance of 1, so that epsilon adds to it."""
    return [
        norm
        for norm in _norms(network)
        if not cast(Tensor, norm.running_mean).any()
        and bool(((cast(Tensor, norm.running_var) + norm.eps - 1).abs() < 1e-6).all())
    ]


@torch.no_grad()
def fold_norms(network: nn.Module) -> None:
    """Make batch norms scale and add and nothing else; in evaluation mode outputs stay the same."""
    for norm in _norms(network):
        mean, variance = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
        norm.weight.div_((variance + norm.eps).sqrt())
        norm.bias.sub_(norm.weight * mean)
        mean.zero_()
        variance.fill_(1 - norm.eps)


@torch.no_grad()
def unfold_norms(step: nn.Module, norms: Iterable[_BatchNorm], batches: Iterable[Batch]) -> None:
    """Give norms the statistics of what they see, and weights and biases that undo them; outputs stay the same.

    Args:
        step: Maps a batch through the network; its mode is restored.
        norms: Of the network; those that no batch reaches stay as they are.
        batches: Where the network is.
    """
    seen: dict[_BatchNorm, Tensor] = {}

    def look(norm: _BatchNorm, inputs: tuple[Tensor]) -> None:
        x = inputs[0]
        values = x.transpose(0, 1).flatten(1).double()
        sums = torch.stack([torch.full_like(values[:, 0], values.shape[1]), values.sum(1), values.square().sum(1)])
        seen[norm] = seen[norm] + sums if norm in seen else sums

    hooks = [norm.register_forward_pre_hook(look) for norm in norms]
    training = step.training
    step.eval()
    for batch in batches:
        step(batch)
    step.train(training)
    for hook in hooks:
        hook.remove()
    for norm, (count, total, squares) in seen.items():
        mean = total / count
        variance = (squares / count - mean.square()).clamp(min=0)
        norm.bias.add_(norm.weight * mean)
        norm.weight.mul_((variance + norm.eps).sqrt())
        cast(Tensor, norm.running_mean).copy_(mean)
        cast(Tensor, norm.running_var).copy_(variance)


def _norms(network: nn.Module) -> list[_BatchNorm]:
    return [module for module in network.modules() if isinstance(module, _BatchNorm)]
