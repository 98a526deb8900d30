"""Fixtures shared by all tests."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

# pytest's importlib mode puts no test folder on the path; the helpers of the tests live here.
sys.path.insert(0, str(Path(__file__).parent / "support"))

# Jobs that a shell starts in the background ignore SIGINT, and so does all that they start; tests of Ctrl-C would hang.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def make_tiny_bundle() -> Callable[..., object]:
    """`make_tiny_bundle(path, input_size=(96, 128), token_length=32, width=8, trained=True, positional=True)`."""
    pytest.importorskip("onnx")
    from bundle_factory import write_tiny_bundle

    return write_tiny_bundle


@pytest.fixture(scope="session")
def tiny_bundle(make_tiny_bundle: Callable[..., object], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Path of a tiny real bundle: "red", "green" or "blue" in the prompt finds the rectangle of that colour.

    Do not write into it; make your own with `make_tiny_bundle`.
    """
    path = tmp_path_factory.mktemp("bundles") / "tiny"
    make_tiny_bundle(path)
    return path


@pytest.fixture(scope="session")
def colour_scene() -> Callable[..., np.ndarray]:
    """`colour_scene((height, width), {"red": (left, top, right, bottom), ...})` -> uint8 BGR frame."""
    pytest.importorskip("onnx")
    from bundle_factory import scene

    return scene
