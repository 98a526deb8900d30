"""Both CUDA providers on the GPU of host memory, and proof that this GPU notices broken rules."""

from __future__ import annotations

import gc
import sys
from pathlib import Path

import numpy as np
import pytest

from humar_edge.errors import BackendError, ConfigError

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))
import doubles


@pytest.fixture(params=["cuda-python", "pycuda"])
def device(request, monkeypatch, tmp_path):
    gpu = doubles.install(monkeypatch, tmp_path, tensorrt=False, pycuda=True)
    from humar_edge.runtime.device import open_device

    found = open_device(request.param)
    assert found.name == request.param
    with found.active():
        yield found
    found.close()
    found.close()
    gc.collect()
    problems = gpu.problems()
    doubles.forget()
    assert problems == []


def test_info_and_memory(device):
    info = device.info()
    assert (info.name, info.compute_capability, info.runtime_cuda, info.driver_cuda) == (
        "Host GPU",
        "8.7",
        "12.9",
        "13.0",
    )
    assert not info.integrated
    assert device.memory() == (4 << 30, 4 << 30)


def test_round_trip(device):
    stream, events = device.stream_create(), [device.event_create(), device.event_create()]
    there, back, address = device.host_alloc(64), device.host_alloc(64), device.malloc(64)
    there[:] = np.arange(64)
    device.event_record(events[0], stream)
    device.copy_to_device(address, there, stream)
    device.copy_to_host(back, address, stream)
    device.event_record(events[1], stream)
    assert not np.array_equal(back, there)  # nothing has happened before the synchronisation
    device.stream_sync(stream)
    np.testing.assert_array_equal(back, there)
    assert device.event_ms(*events) >= 0
    assert device.stream_handle(stream) > 0
    for event in events:
        device.event_destroy(event)
    device.stream_destroy(stream)
    device.free(address)
    device.host_free(there)
    device.host_free(back)


def test_out_of_memory_is_an_error_with_a_name(device):
    with pytest.raises(BackendError, match=r"allocate 8589934592 bytes of device memory: .*cudaErrorMemoryAllocation"):
        device.malloc(8 << 30)


def test_graphs_or_a_clear_refusal(device):
    stream = device.stream_create()
    if device.name == "pycuda":
        with pytest.raises(BackendError, match="PyCUDA has no CUDA graphs; use cuda-python"):
            device.capture_begin(stream)
    else:
        pinned, address = device.host_alloc(8), device.malloc(8)
        device.capture_begin(stream)
        device.copy_to_device(address, pinned, stream)
        graph = device.capture_end(stream)
        device.graph_launch(graph, stream)
        device.stream_sync(stream)
        device.graph_destroy(graph)
        device.free(address)
        device.host_free(pinned)
    device.stream_destroy(stream)


def test_runner_works_with_pycuda(monkeypatch, tmp_path):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from onnx import TensorProto, helper

    monkeypatch.setenv("HUMAR_EDGE_CACHE", str(tmp_path))
    gpu = doubles.install(monkeypatch, tmp_path, cuda=False, pycuda=True)
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "negate", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (tmp_path / "negate.onnx").write_bytes(model.SerializeToString())
    from humar_edge.runtime.runners.tensorrt import TensorRTRunner

    with TensorRTRunner(tmp_path / "negate.onnx", timing=True) as runner:
        got = runner.infer({"x": np.ones((1, 3), np.float32)})["y"]
        assert "PyCUDA has no CUDA graphs" in runner.graph_problem
        assert runner.device.endswith("pycuda)")
        assert runner.timings["compute_ms"] >= 0
    np.testing.assert_array_equal(got, -np.ones((1, 3), np.float32))
    gc.collect()
    problems = gpu.problems()
    doubles.forget()
    assert problems == []


def test_choice_of_provider(monkeypatch, tmp_path):
    gpu = doubles.install(monkeypatch, tmp_path, pycuda=True)
    from humar_edge.runtime.device import open_device, provider_problems

    assert open_device().name == "cuda-python"
    monkeypatch.setenv("HUMAR_EDGE_CUDA", "pycuda")
    assert open_device().name == "pycuda"
    assert provider_problems() == {"cuda-python": "", "pycuda": ""}
    monkeypatch.setenv("HUMAR_EDGE_CUDA", "cupy")
    with pytest.raises(ConfigError, match="unknown CUDA provider 'cupy'; choose from: cuda-python, pycuda"):
        open_device()
    monkeypatch.delenv("HUMAR_EDGE_CUDA")
    gpu.devices = 0
    with pytest.raises(
        BackendError, match=r"no CUDA device: .*cudaErrorInsufficientDriver; no NVIDIA driver.*cuInit failed"
    ):
        open_device()
    doubles.forget()


def test_nothing_installed(monkeypatch, tmp_path):
    doubles.install(monkeypatch, tmp_path, tensorrt=False, cuda=False)
    for name in ("tensorrt", "cuda", "pycuda"):
        monkeypatch.setitem(sys.modules, name, None)
    from humar_edge.runtime import tensorrt
    from humar_edge.runtime.device import open_device

    with pytest.raises(BackendError, match=r"cuda-python is not installed.*pycuda is not installed"):
        open_device()
    assert not tensorrt.available()
    assert "TensorRT is not installed; run: pip install 'humar-edge[tensorrt]'" in tensorrt.why_not()
    doubles.forget()


def test_availability(monkeypatch, tmp_path):
    gpu = doubles.install(monkeypatch, tmp_path)
    import tensorrt as trt

    from humar_edge.runtime import tensorrt

    assert tensorrt.available() and tensorrt.why_not() == ""
    monkeypatch.setattr(trt, "__version__", "8.6.1")
    assert tensorrt.why_not().startswith("TensorRT 8.6.1 is too old: 10.1 or newer is needed")
    monkeypatch.setattr(trt, "__version__", "11.4.0.106")
    gpu.devices = 0
    assert "no CUDA device" in tensorrt.why_not()
    doubles.forget()


@pytest.fixture
def strict(monkeypatch, tmp_path):
    gpu = doubles.install(monkeypatch, tmp_path)
    yield gpu
    doubles.forget()


def test_the_gpu_notices_leaks_double_frees_and_use_after_free(strict):
    from host_gpu import GpuFault, HostStream

    address, pinned, stream = strict.malloc(16), strict.host_alloc(16), strict.new(HostStream())
    assert len(strict.problems()) == 3
    with pytest.raises(GpuFault, match="8 bytes between 16 and 16"):
        strict.copy(address, pinned, 8, "h2d", stream)
    with pytest.raises(GpuFault, match="not in one device allocation"):
        strict.copy(pinned, address, 16, "h2d", stream)
    strict.copy(address, pinned, 16, "h2d", stream)
    with pytest.raises(GpuFault, match="under pending work"):
        strict.free(address)
    with pytest.raises(GpuFault, match="stream destroyed with pending work"):
        strict.drop(stream)
    strict.sync(stream)
    strict.free(address)
    with pytest.raises(GpuFault, match="double free"):
        strict.free(address)
    with pytest.raises(GpuFault, match="use after free"):
        strict.copy(address, pinned, 16, "h2d", stream)
    strict.capture_begin(stream)
    with pytest.raises(GpuFault, match="malloc while a stream records"):
        strict.malloc(1)
    with pytest.raises(GpuFault, match="synchronisation while the stream records"):
        strict.sync(stream)
    with pytest.raises(GpuFault, match="invalidated"):
        strict.capture_end(stream)
    strict.host_free(pinned)
    strict.drop(stream)
    with pytest.raises(GpuFault, match="does not exist"):
        strict.sync(stream)
    assert len(strict.faults) == 9  # every broken rule above fails a test that uses the fixture `gpu`
