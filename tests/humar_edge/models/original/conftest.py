from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

FIXTURES = Path(__file__).resolve().parents[3] / "fixtures" / "uniphd"


@pytest.fixture(scope="session")
def load_fixture():
    """The module of deterministic weights that belongs to the reference vectors."""
    spec = importlib.util.spec_from_file_location("reference_weights", FIXTURES / "reference_weights.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
