"""Build of the native parts in a temporary directory."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


def _run(*command: str | Path) -> str:
    """Run a command; a failure fails the test with everything that was printed."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def run() -> Callable[..., str]:
    """Run a command and return its output."""
    return _run


@pytest.fixture(scope="session")
def configure() -> Callable[..., str]:
    """Configure the project into a directory: ``configure(build_dir, "OPTION=value", ...)`` returns cmake's output."""
    if shutil.which("cmake") is None:
        pytest.skip("cmake is not installed")
    if shutil.which("c++") is None and shutil.which("g++") is None and shutil.which("clang++") is None:
        pytest.skip("no C++ compiler is installed")
    return lambda build, *options: _run("cmake", "-S", ROOT, "-B", build, *(f"-D{option}" for option in options))


@pytest.fixture(scope="session")
def host_library(configure: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Path of the freshly built host library."""
    build = tmp_path_factory.mktemp("native")
    configure(build, "HUMAR_WITH_CUDA=OFF", "HUMAR_WITH_PLUGIN=OFF", "HUMAR_BUILD_TESTS=OFF")
    _run("cmake", "--build", build)
    return build / "libhumar_msda_cpu.so"
