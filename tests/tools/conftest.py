"""Fixtures of the tests of `tools/`."""

from __future__ import annotations

import pytest
from tool_loader import load_tool


@pytest.fixture(scope="session")
def tool():
    """A function that loads tools/NAME.py."""
    return load_tool
