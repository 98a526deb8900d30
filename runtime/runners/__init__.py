"""Inference backends behind one protocol."""
