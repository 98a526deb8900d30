"""UniPHD with deformable attention, the `original` transformer (Huang et al., NeurIPS 2024, arXiv 2410.20508).

Weight-compatible with published checkpoints through `humar_edge.models.checkpoints`.
"""
