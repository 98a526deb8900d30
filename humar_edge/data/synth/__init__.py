"""Synthetic scenes in RefHuman format: clothed, posed people rendered with numpy, and captions that single one out.

The parts, in the order in which a scene comes about: `asset` (the baked bodies), `poses` and `skeleton` (how somebody
stands), `body` (a posed body), `palette` and `outfits` (what is worn), `garments` and `materials` (how it looks),
`rasteriser`, `camera`, `lighting` and `render` (pixels), `backgrounds`, `scene` (who stands where), `captions` (who is
who), `scribbles`, `writer` (files).
"""
