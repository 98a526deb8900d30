"""Multi-scale deformable attention (Zhu et al., 2021) with three ways of sampling.

`gather` (default) reads the four neighbours of a location with Gather; it needs no GridSample, which inference engines
implement with varying success. `gridsample` uses GridSample per level. `plugin` calls the operator
`humar::ms_deform_attn`, which the exporter turns into one node. All three give the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

from humar_edge.errors import ConfigError

Shapes = Sequence[tuple[int, int]]


def ms_deform_attn_gather(value: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor) -> Tensor:
    """Weighted sum of bilinear samples, zero outside of a level, by reading rows of a table.

    Args:
        value: float [N,S,M,D]; the levels one after the other, each row-major, S cells in all, M heads.
        shapes: (height, width) of each of the L levels.
        locations: float [N,Lq,M,L,P,2], (x, y) as fractions of a level; anything, also far outside.
        weights: float [N,Lq,M,L,P], already normalised.

    Returns:
        float [N,Lq,M,D].
    """
    batch, cells, heads, depth = (int(size) for size in value.shape)
    queries, levels, points = int(locations.shape[1]), len(shapes), int(locations.shape[4])
    device = value.device

    def per_level(numbers: list[int], dtype: torch.dtype) -> Tensor:
        return torch.tensor(numbers, dtype=dtype, device=device)[:, None]

    heights, widths = [height for height, _ in shapes], [width for _, width in shapes]
    starts = [sum(h * w for h, w in shapes[:level]) for level in range(levels)]
    # Row of the table [N·S·M, D]: (image · S + start of the level + y · width + x) · M + head. Whole numbers, since an
    # index does not survive reduced precision; 32 bits, which engines prefer.
    image = torch.arange(batch, dtype=torch.int32, device=device)[:, None] * (cells * heads)
    head = torch.arange(heads, dtype=torch.int32, device=device)[None]
    base = (image + head).reshape(batch, 1, heads, 1, 1) + per_level(starts, torch.int32) * heads
    table = value.reshape(batch * cells * heads, depth)

    columns = _neighbours(locations[..., 0], per_level(widths, torch.float32))
    rows = _neighbours(locations[..., 1], per_level(heights, torch.float32))
    across = [(weights * share, column * heads) for share, column in columns]
    down = [(share, row * (per_level(widths, torch.int32) * heads) + base) for share, row in rows]
    total = None
    for share_x, column in across:
        for share_y, row in down:
            read = functional.embedding((row + column).reshape(-1, levels * points), table)
            part = (share_x * share_y).reshape(-1, 1, levels * points) @ read
            total = part if total is None else total + part
    assert total is not None
    return total.reshape(batch, queries, heads, depth)


def _neighbours(relative: Tensor, size: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Both neighbours of a coordinate along one axis: share (zero outside) and index (int32, always inside)."""
    position = relative * size - 0.5
    lower = position.floor()
    fraction = position - lower
    last = size - 1.0
    neighbours = []
    for cell, share in ((lower, 1.0 - fraction), (lower + 1.0, fraction)):
        inside = torch.minimum(cell.clamp(min=0.0), last)
        neighbours.append((share * (inside == cell).to(share), inside.int()))
    return neighbours


def ms_deform_attn_grid_sample(value: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor) -> Tensor:
    """The same sum through GridSample (corners not aligned, zero padding); arguments of `ms_deform_attn_gather`."""
    batch, _, heads, depth = (int(size) for size in value.shape)
    queries, points = int(locations.shape[1]), int(locations.shape[4])
    grid = (2.0 * locations - 1.0).transpose(1, 2).flatten(0, 1)
    samples = []
    for level, (part, (height, width)) in enumerate(
        zip(value.split([h * w for h, w in shapes], 1), shapes, strict=True)
    ):
        image = part.permute(0, 2, 3, 1).reshape(batch * heads, depth, height, width)
        samples.append(functional.grid_sample(image, grid[:, :, level], align_corners=False))
    stacked = torch.stack(samples, 3).reshape(batch, heads, depth, queries, -1)
    share = weights.reshape(batch, queries, heads, len(shapes) * points).transpose(1, 2)
    return (stacked * share[:, :, None]).sum(-1).permute(0, 3, 1, 2)


@torch.library.custom_op("humar::ms_deform_attn", mutates_args=())
def _ms_deform_attn(
    value: Tensor, spatial_shapes: Tensor, level_start: Tensor, locations: Tensor, weights: Tensor
) -> Tensor:
    # level_start follows from the shapes; it is an input because the plugin's contract has it.
    shapes = [(int(h), int(w)) for h, w in spatial_shapes.tolist()]
    return ms_deform_attn_gather(value, shapes, locations, weights).clone()


@_ms_deform_attn.register_fake
def _(value: Tensor, spatial_shapes: Tensor, level_start: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
    return value.new_empty(value.shape[0], locations.shape[1], value.shape[2], value.shape[3])


def ms_deform_attn_plugin(value: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor) -> Tensor:
    """The same sum as one operator `humar::ms_deform_attn`; arguments of `ms_deform_attn_gather`. Inference only."""
    spatial_shapes = torch.tensor(list(shapes), dtype=torch.int32, device=value.device)
    starts = [sum(h * w for h, w in shapes[:level]) for level in range(len(shapes))]
    level_start = torch.tensor(starts, dtype=torch.int32, device=value.device)
    return torch.ops.humar.ms_deform_attn(value, spatial_shapes, level_start, locations, weights)


STRATEGIES: dict[str, Callable[[Tensor, Shapes, Tensor, Tensor], Tensor]] = {
    "gather": ms_deform_attn_gather,
    "gridsample": ms_deform_attn_grid_sample,
    "plugin": ms_deform_attn_plugin,
}
_active = "gather"


def active_strategy() -> str:
    """Name of the sampling in use."""
    return _active


@contextmanager
def deform_attn(strategy: str) -> Iterator[None]:
    """Use another sampling inside a `with` block, for instance while a network is exported.

    Raises:
        ConfigError: the name is none of `STRATEGIES`.
    """
    global _active
    if strategy not in STRATEGIES:
        raise ConfigError(f"unknown deformable attention lowering {strategy!r}; choose one of {', '.join(STRATEGIES)}")
    previous, _active = _active, strategy
    try:
        yield
    finally:
        _active = previous


def sample_bilinear(feature_map: Tensor, cells: Tensor) -> Tensor:
    """Bilinear samples at continuous cell positions, zero outside.

    Args:
        feature_map: float [B,h,w,C].
        cells: float [B,N,2], (x, y); whole numbers are cell centres.

    Returns:
        float [B,N,C].
    """
    height, width = int(feature_map.shape[1]), int(feature_map.shape[2])
    size = torch.tensor([width, height], dtype=torch.float32, device=cells.device)
    locations = ((cells + 0.5) / size)[:, :, None, None, None]
    value = feature_map.flatten(1, 2)[:, :, None]
    return ms_deform_attn_gather(value, [(height, width)], locations, torch.ones_like(locations[..., 0]))[:, :, 0]


class DeformableAttention(nn.Module):
    """Each query reads a few learnt locations around its reference in every level.

    Args:
        width: channels.
        levels: number of maps.
        heads: heads with contiguous blocks of channels.
        points: locations per head and level.
    """

    def __init__(self, width: int = 256, levels: int = 4, heads: int = 8, points: int = 4) -> None:
        super().__init__()
        self.levels, self.heads, self.points = levels, heads, points
        self.sampling_offsets = nn.Linear(width, heads * levels * points * 2)
        self.attention_weights = nn.Linear(width, heads * levels * points)
        self.value_proj = nn.Linear(width, width)
        self.output_proj = nn.Linear(width, width)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start with one direction per head and one distance per point, equal weights."""
        angles = torch.arange(self.heads) * (2.0 * math.pi / self.heads)
        directions = torch.stack((angles.cos(), angles.sin()), -1)
        directions = directions / directions.abs().amax(-1, keepdim=True)
        distances = torch.arange(1, self.points + 1, dtype=torch.float32)
        offsets = directions[:, None, None] * distances[None, None, :, None]
        with torch.no_grad():
            self.sampling_offsets.bias.copy_(offsets.expand(-1, self.levels, -1, -1).flatten())
            for tensor in (self.sampling_offsets.weight, *self.attention_weights.parameters()):
                tensor.zero_()
            for layer in (self.value_proj, self.output_proj):
                nn.init.xavier_uniform_(layer.weight)
                layer.bias.zero_()

    def forward(
        self, query: Tensor, references: Tensor, memory: Tensor, shapes: Shapes, padding: Tensor | None
    ) -> Tensor:
        """Attend.

        Args:
            query: float [B,Lq,C].
            references: float [B,Lq,L,2], (x, y) as fractions of each padded level.
            memory: float [B,S,C].
            shapes: (height, width) of the levels.
            padding: bool [B,S], True = read as zero; None when nothing is padded.

        Returns:
            float [B,Lq,C].
        """
        value = self.value_proj(memory)
        if padding is not None:
            value = value * (~padding)[..., None].to(value)
        value = value.unflatten(-1, (self.heads, -1))
        offsets = self.sampling_offsets(query).unflatten(-1, (self.heads, self.levels, self.points, 2))
        weights = self.attention_weights(query).unflatten(-1, (self.heads, self.levels * self.points)).softmax(-1)
        sizes = torch.tensor([[w, h] for h, w in shapes], dtype=torch.float32, device=query.device)
        locations = references[:, :, None, :, None] + offsets / sizes[:, None]
        sampled = STRATEGIES[_active](value, shapes, locations, weights.unflatten(-1, (self.levels, self.points)))
        return self.output_proj(sampled.flatten(2))
