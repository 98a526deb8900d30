"""Mix Transformer, the encoder of SegFormer (Xie et al., 2021, arXiv 2105.15203), with the published parameter names.

Written here rather than taken from the transformers library, whose parameter names changed between its versions 4
and 5: a checkpoint must load whatever version is installed. The names are those of the published files
(`nvidia/mit-b0`).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from humar_edge.errors import CheckpointError
from humar_edge.models.backbones.pyramid import check_size

HEADS = (1, 2, 5, 8)
REDUCTIONS = (8, 4, 2, 1)
"""How much each stage shrinks the grid that attention looks at, per side."""
_MLP_RATIO = 4


def _to_tokens(grid: Tensor) -> Tensor:
    return grid.flatten(2).transpose(1, 2)


def _to_grid(tokens: Tensor, height: int, width: int) -> Tensor:
    return tokens.transpose(1, 2).reshape(tokens.shape[0], tokens.shape[2], height, width)


class PatchEmbedding(nn.Module):
    """Overlapping patches: a strided convolution and a layer norm."""

    def __init__(self, inputs: int, width: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(inputs, width, kernel, stride, kernel // 2)
        self.layer_norm = nn.LayerNorm(width)

    def forward(self, images: Tensor) -> tuple[Tensor, int, int]:
        """[B, C, H, W] -> tokens [B, h w, width], h, w."""
        grid = self.proj(images)
        return self.layer_norm(_to_tokens(grid)), int(grid.shape[2]), int(grid.shape[3])


class _Query(nn.Module):
    """The attention's inner part; its nesting gives the published names."""

    def __init__(self, width: int, heads: int, reduction: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.reduction = reduction
        if reduction > 1:
            self.sr = nn.Conv2d(width, width, reduction, reduction)
            self.layer_norm = nn.LayerNorm(width)

    def _split(self, tokens: Tensor) -> Tensor:
        batch, count, width = (int(size) for size in tokens.shape)
        return tokens.reshape(batch, count, self.heads, width // self.heads).transpose(1, 2)

    def forward(self, tokens: Tensor, height: int, width: int) -> Tensor:
        source = tokens
        if self.reduction > 1:
            source = self.layer_norm(_to_tokens(self.sr(_to_grid(tokens, height, width))))
        found = functional.scaled_dot_product_attention(
            self._split(self.query(tokens)), self._split(self.key(source)), self._split(self.value(source))
        )
        return found.transpose(1, 2).reshape(tokens.shape)


class Attention(nn.Module):
    """Self-attention whose keys and values are shrunk by a strided convolution."""

    def __init__(self, width: int, heads: int, reduction: int) -> None:
        super().__init__()
        self.self = _Query(width, heads, reduction)
        self.output = nn.ModuleDict({"dense": nn.Linear(width, width)})

    def forward(self, tokens: Tensor, height: int, width: int) -> Tensor:
        """Tokens [B, height width, C] -> the same shape."""
        mixed: Tensor = self.output["dense"](self.self(tokens, height, width))
        return mixed


class MixMlp(nn.Module):
    """Linear, depthwise 3x3 (which also tells positions, through its padding), GELU, linear."""

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = width * _MLP_RATIO
        self.dense1 = nn.Linear(width, hidden)
        self.dwconv = nn.ModuleDict({"dwconv": nn.Conv2d(hidden, hidden, 3, 1, 1, groups=hidden)})
        self.dense2 = nn.Linear(hidden, width)

    def forward(self, tokens: Tensor, height: int, width: int) -> Tensor:
        """Tokens [B, height width, C] -> the same shape."""
        grid = self.dwconv["dwconv"](_to_grid(self.dense1(tokens), height, width))
        mixed: Tensor = self.dense2(functional.gelu(_to_tokens(grid)))
        return mixed


class Block(nn.Module):
    """Attention and Mix-FFN, each behind a layer norm, with stochastic depth."""

    def __init__(self, width: int, heads: int, reduction: int, drop_path: float) -> None:
        super().__init__()
        self.layer_norm_1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads, reduction)
        self.layer_norm_2 = nn.LayerNorm(width)
        self.mlp = MixMlp(width)
        self.drop_path = drop_path

    def _drop(self, change: Tensor) -> Tensor:
        if not self.training or self.drop_path == 0:
            return change
        keep = 1 - self.drop_path
        return change * torch.empty_like(change[:, :1, :1]).bernoulli_(keep) / keep

    def forward(self, tokens: Tensor, height: int, width: int) -> Tensor:
        """Tokens [B, height width, C] -> the same shape."""
        tokens = tokens + self._drop(self.attention(self.layer_norm_1(tokens), height, width))
        return tokens + self._drop(self.mlp(self.layer_norm_2(tokens), height, width))


class MixTransformer(nn.Module):
    """SegFormer's encoder: four stages, each ending in a layer norm.

    Args:
        channels: Channels of the stages.
        depths: Blocks of the stages.
        drop_path: Stochastic depth of the last block; it grows linearly from 0.
    """

    def __init__(
        self,
        channels: tuple[int, int, int, int],
        depths: tuple[int, ...] = (2, 2, 2, 2),
        drop_path: float = 0.1,
    ) -> None:
        super().__init__()
        self.channels = channels
        last = max(sum(depths) - 1, 1)
        rates = iter([drop_path * index / last for index in range(sum(depths))])
        inputs = (3, *channels[:-1])
        self.patch_embeddings = nn.ModuleList(
            PatchEmbedding(before, width, 3 if stage else 7, 2 if stage else 4)
            for stage, (before, width) in enumerate(zip(inputs, channels, strict=True))
        )
        self.block = nn.ModuleList(
            nn.ModuleList(Block(width, heads, reduction, next(rates)) for _ in range(depth))
            for width, heads, reduction, depth in zip(channels, HEADS, REDUCTIONS, depths, strict=True)
        )
        self.layer_norm = nn.ModuleList(nn.LayerNorm(width) for width in channels)
        self.apply(_initialise)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Feature maps at strides 4, 8, 16 and 32.

        Args:
            images: float [B, 3, H, W], ImageNet-normalised, H and W divisible by 32.

        Returns:
            Four maps [B, channels[i], H / strides[i], W / strides[i]].
        """
        check_size(images, "segformer")
        maps = []
        for embed, blocks, norm in zip(self.patch_embeddings, self.block, self.layer_norm, strict=True):
            tokens, height, width = embed(images)
            for block in blocks:  # type: ignore[attr-defined]
                tokens = block(tokens, height, width)
            images = _to_grid(norm(tokens), height, width)
            maps.append(images)
        return maps


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Conv2d):
        fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels // module.groups
        nn.init.normal_(module.weight, std=(2 / fan_out) ** 0.5)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def adopt_mit(model: MixTransformer, published: dict[str, Tensor]) -> dict[str, Tensor]:
    """Take the encoder out of a published SegFormer classifier or segmenter.

    Raises:
        CheckpointError: The file holds no SegFormer encoder.
    """
    prefixes = ("segformer.encoder.", "encoder.")
    prefix = next((p for p in prefixes if any(name.startswith(p) for name in published)), None)
    if prefix is None:
        raise CheckpointError("the weights are not a SegFormer's: no name starts with 'segformer.encoder.'")
    return {name.removeprefix(prefix): value for name, value in published.items() if name.startswith(prefix)}
