from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np
import pytest

from humar_edge.bundle import Bundle
from humar_edge.errors import BackendError
from humar_edge.runtime import runners
from humar_edge.runtime.runners import BACKENDS, Runner, TensorSpec, available_backends, choose_backend, open_runner

CPU_BACKENDS = ["openvino", "onnxruntime"]


@pytest.fixture(scope="module")
def bundle(tiny_bundle):
    return Bundle.load(tiny_bundle)


@pytest.fixture(scope="module", params=CPU_BACKENDS)
def vision(bundle, request):
    with open_runner(bundle.vision_engine, request.param, threads=1) as runner:
        yield runner


@pytest.fixture
def inputs():
    rng = np.random.default_rng(0)
    return {
        "image": rng.integers(0, 256, (1, 96, 128, 3), dtype=np.uint8),
        "text_tokens": rng.random((1, 32, 8), dtype=np.float32),
        "text_mask": np.ones((1, 32), dtype=np.int64),
        "sentence": rng.random((1, 8), dtype=np.float32),
    }


def test_contract(vision):
    assert isinstance(vision, Runner) and vision.name in BACKENDS and vision.device.startswith("CPU (")
    assert vision.input_specs["image"] == TensorSpec((1, 96, 128, 3), np.dtype(np.uint8))
    assert {name: str(spec) for name, spec in vision.output_specs.items()} == {
        "box": "float32[1, 4]",
        "keypoints": "float32[1, 17, 3]",
        "score": "float32[1]",
        "mask": "float32[1, 24, 32]",
    }


def test_backends_agree(bundle, inputs):
    engines = (bundle.vision_engine, bundle.text_engine)
    text = {"input_ids": np.array([[2, 4, 3] + [0] * 29]), "attention_mask": np.array([[1, 1, 1] + [0] * 29])}
    for engine, feeds in zip(engines, (inputs, text), strict=True):
        results = []
        for backend in CPU_BACKENDS:
            with open_runner(engine, backend, threads=1) as runner:
                results.append(runner.infer(feeds))
        assert results[0].keys() == results[1].keys()
        for name in results[0]:
            np.testing.assert_allclose(results[0][name], results[1][name], rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("backend", CPU_BACKENDS)
def test_outputs_keep_their_names_when_the_node_before_is_merged(tmp_path, backend):
    """OpenVINO drops a node without effect, and the port then bears the inner tensor's name as well."""
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [
            helper.make_node("Relu", ["x"], ["/Gather_output_0"], "/Relu"),
            helper.make_node("Reshape", ["/Gather_output_0", "shape"], ["score"], "/Reshape"),
        ],
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor("shape", TensorProto.INT64, [2], [1, 4])],
    )
    path = tmp_path / "merged.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    with runners.open_runner(path, backend) as runner:
        assert list(runner.output_specs) == list(runner.infer({"x": np.ones((1, 4), np.float32)})) == ["score"]


def test_outputs_belong_to_the_caller_and_inputs_are_not_changed(vision, inputs):
    before = {name: array.copy() for name, array in inputs.items()}
    first = vision.infer(inputs)
    kept = {name: array.copy() for name, array in first.items()}
    inputs["image"] = np.zeros_like(inputs["image"])
    second = vision.infer(inputs)
    assert not np.array_equal(first["mask"], second["mask"])
    for name in kept:
        np.testing.assert_array_equal(first[name], kept[name])
        assert first[name].flags.writeable
    np.testing.assert_array_equal(before["sentence"], inputs["sentence"])


def test_strided_inputs(vision, inputs):
    expected = vision.infer(inputs)
    inputs["image"] = np.asfortranarray(inputs["image"])
    np.testing.assert_array_equal(vision.infer(inputs)["mask"], expected["mask"])


def test_threads_take_turns(vision, inputs):
    feeds = [{**inputs, "image": np.full_like(inputs["image"], value)} for value in (0, 255)] * 4
    feeds[1]["image"] = inputs["image"]
    expected = [vision.infer(feed) for feed in feeds]
    results: list = [None] * len(feeds)

    def work(index):
        for _ in range(20):
            results[index] = vision.infer(feeds[index])

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(feeds))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result, want in zip(results, expected, strict=True):
        np.testing.assert_array_equal(result["mask"], want["mask"])


def test_errors_name_the_tensor(vision, inputs):
    with pytest.raises(
        BackendError, match=r"input 'image' must be uint8\[1, 96, 128, 3\], got float32\[1, 96, 128, 3\]"
    ):
        vision.infer({**inputs, "image": inputs["image"].astype(np.float32)})
    with pytest.raises(BackendError, match=r"'sentence' must be float32\[1, 8\], got float32\[1, 9\]"):
        vision.infer({**inputs, "sentence": np.zeros((1, 9), np.float32)})
    with pytest.raises(BackendError, match="has no input bogus; it has image, sentence"):
        vision.infer({**inputs, "bogus": inputs["image"]})
    del inputs["text_mask"]
    with pytest.raises(BackendError, match="needs input text_mask"):
        vision.infer(inputs)


@pytest.mark.parametrize("backend", CPU_BACKENDS)
def test_closed_and_broken(bundle, inputs, backend, tmp_path):
    runner = open_runner(bundle.vision_engine, backend, threads=1)
    runner.close()
    with pytest.raises(BackendError, match="closed"):
        runner.infer(inputs)
    (tmp_path / "bad.onnx").write_bytes(b"nothing")
    with pytest.raises(BackendError, match=r"cannot run .*bad\.onnx") as caught:
        open_runner(tmp_path / "bad.onnx", backend)
    assert "\n" not in str(caught.value)


SIGNALLED = """
import os, signal, sys, threading
from pathlib import Path
from humar_edge.runtime.runners import open_runner

heard = []
signal.signal(signal.SIGTERM, lambda *_: heard.append(1))
runners = [open_runner(Path(sys.argv[1]), sys.argv[2], threads=1)]
dropping = threading.Thread(target=runners.clear)
dropping.start()
dropping.join()
os.kill(os.getpid(), signal.SIGTERM)
sys.exit(heard != [1])
"""


@pytest.mark.parametrize("backend", CPU_BACKENDS)
def test_signals_are_heard_after_another_thread_dropped_the_runner(bundle, backend):
    """Python runs handlers on the thread's signal stack if there is one; faulthandler makes one, as pytest does."""
    command = [sys.executable, "-X", "faulthandler", "-c", SIGNALLED, bundle.vision_engine, backend]
    assert subprocess.run(command, timeout=120, check=False).returncode == 0


def test_a_spec_with_a_free_size():
    spec = TensorSpec((1, -1), np.dtype(np.int64))
    assert spec.accepts(np.zeros((1, 9), np.int64))
    assert not spec.accepts(np.zeros((1, 9), np.int32)) and not spec.accepts(np.zeros(9, np.int64))


def test_choosing(bundle, monkeypatch, tmp_path):
    assert set(CPU_BACKENDS) <= set(available_backends())
    monkeypatch.setitem(runners._AVAILABLE, "tensorrt", lambda: False)
    assert choose_backend() == "openvino"
    monkeypatch.setitem(runners._AVAILABLE, "openvino", lambda: False)
    assert choose_backend() == "onnxruntime"
    monkeypatch.setitem(runners._AVAILABLE, "onnxruntime", lambda: False)
    with pytest.raises(BackendError, match="pip install openvino"):
        choose_backend()
    monkeypatch.setitem(runners._AVAILABLE, "tensorrt", lambda: True)
    assert choose_backend() == "tensorrt" and choose_backend("openvino") == "openvino"
    with pytest.raises(BackendError, match="unknown backend 'cuda'; known: tensorrt, openvino, onnxruntime"):
        open_runner(bundle.vision_engine, "cuda")
    with pytest.raises(BackendError, match="no such engine"):
        open_runner(tmp_path / "absent.onnx")
    with pytest.raises(BackendError, match="at least 1, got 0"):
        open_runner(bundle.vision_engine, "openvino", threads=0)


@pytest.mark.parametrize("backend", CPU_BACKENDS)
def test_a_named_backend_that_is_not_installed_is_an_error(bundle, monkeypatch, backend):
    monkeypatch.setitem(sys.modules, backend, None)
    with pytest.raises(BackendError, match=f"pip install {backend}"):
        open_runner(bundle.vision_engine, backend)
