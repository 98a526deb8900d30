"""CMake builds everything that this machine can build, without warnings, and says what it leaves out."""

from __future__ import annotations

import re
import runpy
import shutil
import subprocess
from pathlib import Path

import pytest

ARCHITECTURES = {75, 86, 87, 89}
KERNELS = 12  # (FP32, FP16, FP16 with FP32 weights) x (vector, scalar) x (softmax fused or not)
MAX_REGISTERS = 64  # eight blocks of 128 threads in the 65,536 registers of a multiprocessor


def test_plugin_compiles_against_the_stand_in_header(root: Path, run) -> None:
    compiler = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("no C++ compiler is installed")
    tests = root / "tests/runtime/csrc"
    source = root / "runtime/csrc/ms_deform_attn_plugin.cpp"
    flags = ["-std=c++17", "-Wall", "-Wextra", "-Werror", "-fsyntax-only"]
    run(compiler, *flags, "-I", tests / "fake_tensorrt", source)


def test_missing_tensorrt_is_said_and_not_an_error(configure, tmp_path: Path) -> None:
    output = configure(tmp_path, "HUMAR_WITH_CUDA=OFF", "HUMAR_BUILD_TESTS=OFF", "HUMAR_TENSORRT_INCLUDE=")
    assert "TensorRT plugin: skipped, NvInfer.h or libnvinfer not found (set TensorRT_ROOT)" in output


def test_missing_nvcc_is_said_and_not_an_error(configure, tmp_path: Path) -> None:
    output = configure(tmp_path, "HUMAR_NVCC=", "HUMAR_BUILD_TESTS=OFF")
    assert "CUDA kernel: skipped, nvcc not found" in output


@pytest.mark.slow
def test_cpp_tests_pass(configure, run, tmp_path: Path) -> None:
    configure(tmp_path, "HUMAR_WITH_CUDA=OFF", "HUMAR_WITH_PLUGIN=OFF")
    run("cmake", "--build", tmp_path)
    output = run("ctest", "--test-dir", tmp_path, "--output-on-failure")
    assert "100% tests passed, 0 tests failed out of 3" in output


@pytest.mark.slow
@pytest.mark.parametrize("sanitizer", ["address,undefined", "thread"])
def test_cpp_tests_pass_under_sanitizers(sanitizer: str, configure, run, tmp_path: Path) -> None:
    probe = tmp_path / "probe.cpp"
    probe.write_text("int main() { return 0; }\n")
    compiler = shutil.which("c++") or shutil.which("g++") or "clang++"
    tried = subprocess.run([compiler, f"-fsanitize={sanitizer}", str(probe), "-o", str(tmp_path / "probe")], timeout=60)
    if tried.returncode != 0:
        pytest.skip(f"the compiler has no {sanitizer} sanitizer")
    build = tmp_path / "build"
    configure(build, "HUMAR_WITH_CUDA=OFF", "HUMAR_WITH_PLUGIN=OFF", f"HUMAR_SANITIZE={sanitizer}")
    run("cmake", "--build", build)
    run("ctest", "--test-dir", build, "--output-on-failure")


@pytest.mark.slow
def test_kernel_compiles_for_every_target_without_spills(configure, run, root: Path, tmp_path: Path) -> None:
    output = configure(tmp_path, "HUMAR_WITH_PLUGIN=OFF", "HUMAR_BUILD_TESTS=OFF")
    if "CUDA kernel: skipped" in output:
        pytest.skip("nvcc is not installed")
    run("cmake", "--build", tmp_path, "--target", "humar_msda_cuda_object")
    assert (tmp_path / "ms_deform_attn.cu.o").stat().st_size > 0

    tool = runpy.run_path(str(root / "runtime/csrc/ptxas_report.py"))
    uses = tool["parse"]((tmp_path / "ptxas-report.txt").read_text(encoding="utf-8"))
    assert len(uses) == KERNELS * len(ARCHITECTURES)
    assert {use.sm for use in uses} == ARCHITECTURES
    assert all(use.spilled == 0 for use in uses)
    assert all(use.registers <= MAX_REGISTERS for use in uses)

    # The committed report is exact for the compiler that it names; another compiler may allocate differently.
    document = (root / "docs/plugin.md").read_text(encoding="utf-8")
    nvcc = re.search(r"CUDA kernel: (\S+) for SM", output)
    assert nvcc is not None
    version = re.search(r"V(\d+\.\d+\.\d+)", run(nvcc[1], "--version"))
    if version is not None and f"nvcc {version[1]}" in document:
        assert tool["table"](uses) in document


@pytest.mark.slow
def test_a_kernel_that_does_not_compile_fails_the_build(configure, tmp_path: Path) -> None:
    output = configure(tmp_path, "HUMAR_WITH_PLUGIN=OFF", "HUMAR_BUILD_TESTS=OFF", "HUMAR_CUDA_ARCHITECTURES=1")
    if "CUDA kernel: skipped" in output:
        pytest.skip("nvcc is not installed")
    done = subprocess.run(["cmake", "--build", str(tmp_path)], capture_output=True, text=True, timeout=300)
    assert done.returncode != 0
    assert "compute_1" in done.stdout + done.stderr
    assert not (tmp_path / "ms_deform_attn.cu.o").exists()


@pytest.mark.gpu
@pytest.mark.slow
def test_kernel_equals_the_host_library_on_a_gpu(configure, run, tmp_path: Path) -> None:
    output = configure(tmp_path, "HUMAR_WITH_PLUGIN=OFF")
    if "CUDA kernel: skipped" in output:
        pytest.skip("nvcc is not installed")
    run("cmake", "--build", tmp_path, "--target", "test_kernel_gpu")
    done = subprocess.run([str(tmp_path / "tests/runtime/csrc/test_kernel_gpu")], capture_output=True, text=True)
    if done.returncode == 77:
        pytest.skip("no CUDA device")
    print(done.stdout)
    assert done.returncode == 0, done.stderr
