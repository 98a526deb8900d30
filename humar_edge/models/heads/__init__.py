"""Heads shared by the light families."""
