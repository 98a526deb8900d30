"""TensorRT 10.1 to 11: building engines from ONNX, keeping them, running them. Needs the extra `tensorrt`."""

from __future__ import annotations

from types import ModuleType

from humar_edge.errors import BackendError, HumarError

OLDEST = (10, 1)

INSTALL = "run: pip install 'humar-edge[tensorrt]' (on a Jetson use the TensorRT of JetPack, see docs/jetson.md)"


def load_tensorrt() -> ModuleType:
    """The `tensorrt` module.

    Raises:
        BackendError: It is not installed, does not load, or is older than 10.1.
    """
    try:
        import tensorrt as trt
    except ModuleNotFoundError as error:
        raise BackendError(f"TensorRT is not installed; {INSTALL}") from error
    except (ImportError, OSError) as error:
        raise BackendError(f"TensorRT is installed but does not load ({error}); are its libraries there?") from error
    if version_tuple(trt.__version__)[:2] < OLDEST:
        raise BackendError(f"TensorRT {trt.__version__} is too old: 10.1 or newer is needed; {INSTALL}")
    return trt


def version_tuple(version: str) -> tuple[int, ...]:
    """The leading numbers of a version, "10.16.1.11" -> (10, 16, 1, 11)."""
    numbers: list[int] = []
    for part in version.split("."):
        if not part.isdigit():
            break
        numbers.append(int(part))
    return tuple(numbers)


def why_not() -> str:
    """Why TensorRT cannot be used on this machine, one line; empty when it can."""
    from humar_edge.runtime.device import open_device

    try:
        load_tensorrt()
        open_device().close()
    except HumarError as error:
        return str(error)
    return ""


def available() -> bool:
    """Whether TensorRT and a GPU are there."""
    return not why_not()
