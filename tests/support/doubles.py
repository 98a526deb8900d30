"""Putting the doubles where the real packages would be, in this process and in those it starts."""

from __future__ import annotations

import os
import sys
import types
from pathlib import Path

SUPPORT = Path(__file__).resolve().parent
FORGET = (
    "tensorrt",
    "cuda",
    "cuda.bindings",
    "cuda.bindings.runtime",
    "pycuda",
    "pycuda.driver",
    "fake_tensorrt",
    "fake_cudart",
    "fake_pycuda_driver",
    "host_gpu",
)
OURS = ("humar_edge.runtime.tensorrt", "humar_edge.runtime.device", "humar_edge.runtime.runners.tensorrt")


def forget() -> None:
    """Unload the doubles and every module of ours that has imported them."""
    for name in list(sys.modules):
        if name in FORGET or name.startswith(OURS):
            del sys.modules[name]
    import humar_edge.runtime as runtime

    for attribute in ("tensorrt", "device"):
        vars(runtime).pop(attribute, None)
    runners = sys.modules.get("humar_edge.runtime.runners")
    if runners is not None:
        vars(runners).pop("tensorrt", None)


def install(monkeypatch, directory: Path, tensorrt: bool = True, cuda: bool = True, pycuda: bool = False):
    """Install the doubles until the test ends; returns the GPU.

    Args:
        monkeypatch: pytest's fixture.
        directory: A place for the `tensorrt` module that subprocesses import.
        tensorrt: Install `tensorrt`.
        cuda: Install `cuda.bindings.runtime`.
        pycuda: Install `pycuda.driver`.
    """
    forget()
    stand_in = directory / "stand_in"
    stand_in.mkdir(exist_ok=True)
    (stand_in / "tensorrt.py").write_text("from fake_tensorrt import *\nfrom fake_tensorrt import __version__\n")
    inherited = os.environ.get("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(stand_in), str(SUPPORT), inherited]))
    monkeypatch.syspath_prepend(str(SUPPORT))
    import host_gpu

    host_gpu.reset()
    if cuda:
        import fake_cudart

        bindings = types.ModuleType("cuda.bindings")
        bindings.runtime = fake_cudart
        package = types.ModuleType("cuda")
        package.bindings = bindings
        names = {"cuda": package, "cuda.bindings": bindings, "cuda.bindings.runtime": fake_cudart}
        for name, module in names.items():
            monkeypatch.setitem(sys.modules, name, module)
    if pycuda:
        import fake_pycuda_driver

        package = types.ModuleType("pycuda")
        package.driver = fake_pycuda_driver
        monkeypatch.setitem(sys.modules, "pycuda", package)
        monkeypatch.setitem(sys.modules, "pycuda.driver", fake_pycuda_driver)
    if tensorrt:
        import fake_tensorrt

        monkeypatch.setitem(sys.modules, "tensorrt", fake_tensorrt)
    return host_gpu.GPU
