"""The plugin library of this project: where it is looked for, whether a graph needs it, and loading it."""

from __future__ import annotations

import os
from pathlib import Path

from humar_edge.errors import BackendError
from humar_edge.runtime.tensorrt.onnx_scan import OnnxFacts

LIBRARIES = ("libhumar_trt_plugin.so", "libhumar_plugins.so")
"""File names of the library: CMake's, and the one it has in images that were made by hand."""

PACKAGE = Path(__file__).resolve().parents[1]

PLACES: tuple[tuple[str, Path], ...] = (
    ("package", PACKAGE / "csrc"),
    ("build directory", PACKAGE.parent / "build" / "native"),
    ("build directory", PACKAGE.parent / "build"),
)
"""(description, directory) in order of preference; the environment variable HUMAR_EDGE_PLUGIN comes before all."""

OPERATORS = frozenset({"MultiscaleDeformableAttnPlugin_TRT"})
"""Operator types that the library implements."""

HOW_TO_BUILD = "build it on a machine with TensorRT headers and nvcc, see docs/plugin.md"

_loaded: set[Path] = set()


def find_plugin() -> Path | None:
    """The plugin library, None when there is none.

    Raises:
        BackendError: HUMAR_EDGE_PLUGIN names a file that does not exist.
    """
    forced = os.environ.get("HUMAR_EDGE_PLUGIN")
    if forced:
        if not Path(forced).is_file():
            raise BackendError(f"HUMAR_EDGE_PLUGIN names {forced}, which does not exist; {HOW_TO_BUILD}")
        return Path(forced).resolve()
    candidates = (directory / name for _, directory in PLACES for name in LIBRARIES)
    return next((path for path in candidates if path.is_file()), None)


def plugin_for(facts: OnnxFacts, onnx: Path) -> Path | None:
    """The library that a graph wants, None when it wants none or can do without: an operator that is also defined as a
    function in the file is expanded by TensorRT when no plugin implements it.

    Raises:
        BackendError: The graph cannot do without and the library is not there.
    """
    wanted = facts.operators & OPERATORS
    plugin = find_plugin() if wanted else None
    if plugin is None and (needed := sorted(wanted - facts.functions)):
        raise BackendError(
            f"{onnx.name} uses {', '.join(needed)} and the plugin library is not there; {HOW_TO_BUILD}, or export "
            "without --deform-attn plugin"
        )
    return plugin


def load_plugin(path: Path) -> None:
    """Register the creators of the library with TensorRT, once per process.

    Raises:
        BackendError: TensorRT refuses the library.
    """
    import tensorrt as trt

    if path in _loaded:
        return
    try:
        handle = trt.get_plugin_registry().load_library(str(path))
    except RuntimeError as error:
        raise BackendError(f"TensorRT does not load the plugin library {path}: {error}; {HOW_TO_BUILD}") from error
    if handle is None:
        raise BackendError(
            f"TensorRT {trt.__version__} refuses the plugin library {path}; was it built for another version? "
            f"{HOW_TO_BUILD}"
        )
    _loaded.add(path)
