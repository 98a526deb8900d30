"""Training: losses, loop, recipes, checkpoints."""
