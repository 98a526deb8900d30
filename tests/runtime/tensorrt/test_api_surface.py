"""Every name and signature of TensorRT and cuda-python that the runtime uses exists in the real bindings.

The bindings import without a GPU once three shared libraries with the right names are on the loader's path; what they
would contain is never called. Nothing here is a hand-kept list: uses are collected from the sources, and the double
that the other tests execute is compared as well, so that whatever runs against it exists.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SUPPORT = ROOT / "tests" / "support"
CHECKER = SUPPORT / "api_surface.py"
LIBRARIES = ("nvinfer", "nvinfer_plugin", "nvonnxparser")
TENSORRT = {
    "10.1": "tensorrt-cu12-bindings==10.1.0",
    "10.3": "tensorrt-cu12-bindings==10.3.0",
    "10.16": "tensorrt-cu12-bindings==10.16.*",
    "11": "tensorrt-cu13-bindings==11.*",
}
"""The oldest supported, JetPack 6's, the last 10.x, and 11."""

CUDA = ("12.9.*", "13.*")

pytestmark = pytest.mark.slow


def wheel_directory(tmp_path_factory, name: str) -> Path:
    """Where downloads are kept: HUMAR_EDGE_TEST_WHEELS between runs, else this run's temporary directory."""
    kept = os.environ.get("HUMAR_EDGE_TEST_WHEELS")
    root = Path(kept) if kept else tmp_path_factory.getbasetemp() / "wheels"
    (root / name).mkdir(parents=True, exist_ok=True)
    return root / name


def pip(*arguments: str) -> None:
    """Run pip; skip the test when it fails, for example without a network."""
    command = [sys.executable, "-m", "pip", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        pytest.skip(f"pip cannot get {arguments[-1]}: {last}")


def sources(*patterns: str) -> str:
    return json.dumps([str(path) for pattern in patterns for path in sorted(ROOT.glob(pattern))])


def check(python_path: Path, libraries: Path | None, *arguments: str) -> dict:
    paths = os.pathsep.join([str(python_path), str(SUPPORT)])
    environment = {**os.environ, "PYTHONPATH": paths}
    if libraries:
        environment["LD_LIBRARY_PATH"] = str(libraries)
    done = subprocess.run(
        [sys.executable, str(CHECKER), *arguments], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module", params=list(TENSORRT))
def bindings(request, tmp_path_factory) -> tuple[str, Path, Path]:
    """Version, directory with the real bindings, directory with the stub libraries."""
    for tool in ("gcc", "nm"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not there to make the stub libraries")
    if sys.platform != "linux":
        pytest.skip("the bindings' stub libraries are made for Linux")
    wanted = request.param
    major = wanted.split(".")[0]
    wheels = wheel_directory(tmp_path_factory, f"tensorrt-{wanted}")
    if not list(wheels.glob("*.whl")):
        pip("download", "-q", "--no-deps", "-d", str(wheels), TENSORRT[wanted])
    place = tmp_path_factory.mktemp(f"tensorrt-{wanted}")
    with zipfile.ZipFile(next(wheels.glob("*.whl"))) as wheel:
        wheel.extractall(place)
    return wanted, place, stub_libraries(major, place)


def stub_libraries(major: str, place: Path) -> Path:
    """Libraries that define what the extension asks of TensorRT: functions that return null."""
    extension = next(place.rglob("tensorrt*.so"))
    wanted = subprocess.run(
        ["nm", "-D", "--undefined-only", str(extension)], capture_output=True, text=True, check=True
    )
    names = [line.split()[-1] for line in wanted.stdout.splitlines() if line.split()[-2] == "U"]
    ours = [name for name in names if "@" not in name and not name.lstrip("_").startswith("Py")]
    stubs = place / "stubs"
    stubs.mkdir()
    code = stubs / "stub.c"
    for library in LIBRARIES:
        body = "\n".join(f"void *{name}(void) {{ return 0; }}" for name in ours) if library == "nvinfer" else ""
        code.write_text(body + "\n")
        target = stubs / f"lib{library}.so.{major}"
        soname = f"-Wl,-soname,{target.name}"
        options = ["-w", "-fno-builtin", "-shared", "-fPIC", soname]
        subprocess.run(["gcc", *options, "-o", str(target), str(code)], check=True)
    return stubs


def test_tensorrt_names_and_signatures(bindings):
    version, place, stubs = bindings
    patterns = ("runtime/tensorrt/*.py", "runtime/runners/tensorrt.py", "runtime/doctor*.py", "tests/gpu/*.py")
    found = check(place, stubs, "tensorrt_bindings", "trt", sources(*patterns), "fake_tensorrt")
    assert f"{found['version']}.".startswith(f"{version}.")
    assert found["problems"] == []
    known = {
        "trt.NetworkDefinitionCreationFlag",
        "NetworkDefinitionCreationFlag.STRONGLY_TYPED",
        "IExecutionContext.execute_async_v3",
        "execute_async_v3(1)",
        "deserialize_cuda_engine(1)",
        "IBuilderConfig.progress_monitor",
        "create_timing_cache(1)",
        "override IProgressMonitor.step_complete",
        "ICudaEngine.device_memory_size_v2",
        "double fake_tensorrt.ICudaEngine.get_tensor_name",
    }
    assert known <= set(found["checked"])  # the collector sees what it is there to see
    assert len(found["checked"]) > 100


def test_the_check_notices_what_is_wrong(bindings, tmp_path):
    _, place, stubs = bindings
    (tmp_path / "wrong.py").write_text(
        "import tensorrt as trt\n"
        "def build(config: trt.IBuilderConfig, engine: trt.ICudaEngine):\n"
        "    config.max_workspace_size = 1\n"
        "    config.set_flag(trt.BuilderFlag.NEVER)\n"
        "    config.set_timing_cache(b'')\n"
        "    engine.create_execution_context().execute_async_v2([], 0)\n"
        "class Monitor(trt.IProgressMonitor):\n"
        "    def step_complete(self, step):\n"
        "        return True\n"
    )
    (tmp_path / "bad_double.py").write_text("class Builder:\n    def build_cuda_engine(self, network): pass\n")
    environment_path = os.pathsep.join([str(place), str(tmp_path)])
    found = check(
        Path(environment_path),
        stubs,
        "tensorrt_bindings",
        "trt",
        json.dumps([str(tmp_path / "wrong.py")]),
        "bad_double",
    )
    texts = "\n".join(found["problems"])
    for wanted in (
        "max_workspace_size",
        "NEVER",
        "set_timing_cache takes",
        "execute_async_v2",
        "step_complete",
        "build_cuda",
    ):
        assert wanted in texts


@pytest.mark.parametrize("version", CUDA)
def test_cuda_python_names_and_signatures(version, tmp_path_factory):
    place = wheel_directory(tmp_path_factory, f"cuda-{version.split('.')[0]}")
    if not (place / "cuda").is_dir():
        pip("install", "-q", "--target", str(place), f"cuda-bindings=={version}")
    found = check(
        place, None, "cuda.bindings.runtime", "cudart", sources("runtime/device/cuda_python.py"), "fake_cudart"
    )
    assert found["problems"] == []
    assert {"cudart.cudaMemcpyAsync", "cudaMemcpyAsync(5)", "cudart.cudaGraphInstantiate"} <= set(found["checked"])


REAL_IMPORT = """
import io, json
import numpy as np
import tensorrt as trt
from humar_edge.runtime.tensorrt import build_worker, dtypes, load_tensorrt, logger, session
assert load_tensorrt() is trt
log = logger.MessageLog()
log.log(trt.ILogger.Severity.ERROR, "first line\\n second")
log.log(trt.ILogger.Severity.WARNING, "careful")
assert log.take_errors() == "first line second" and list(log.warnings) == ["careful"]
assert dtypes.numpy_dtype(trt.DataType.UINT8, "image") == np.uint8
out = io.StringIO()
reporter = build_worker.Reporter(out)
reporter.phase_start("Building", None, 3)
assert reporter.step_complete("Building", 0) is True
reporter.phase_finish("Building")
assert [json.loads(line)["event"] for line in out.getvalue().splitlines()] == ["start", "step", "finish"]
assert 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED) in (1, 2)
print("fine", trt.__version__)
"""


def test_our_modules_import_and_subclass_the_real_bindings(bindings, tmp_path):
    """Enum members as dictionary keys, subclasses of the logger and the progress monitor: on the real classes."""
    version, place, stubs = bindings
    (tmp_path / "tensorrt.py").write_text(
        "from tensorrt_bindings import *\nfrom tensorrt_bindings import __version__\n"
    )
    paths = os.pathsep.join([str(tmp_path), str(place)])
    environment = {**os.environ, "PYTHONPATH": paths, "LD_LIBRARY_PATH": str(stubs)}
    command = [sys.executable, "-c", REAL_IMPORT]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.startswith(f"fine {version}."), done.stderr
