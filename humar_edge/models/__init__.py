"""PyTorch networks: backbones, text encoders, transformers and heads."""
