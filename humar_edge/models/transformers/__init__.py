"""Prompt-conditioned networks."""
