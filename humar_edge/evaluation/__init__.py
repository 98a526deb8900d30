"""Metrics of referring pose and mask estimation."""
