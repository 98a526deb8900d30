"""The whole runner, on a GPU of host memory that reports every broken rule and every leak (fixture `gpu`)."""

from __future__ import annotations

import gc
import threading

import numpy as np
import onnxruntime
import pytest

from humar_edge.errors import BackendError


def reference(path, feed):
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, feed)


@pytest.fixture
def runner_class(gpu):
    from humar_edge.runtime.runners.tensorrt import TensorRTRunner

    return TensorRTRunner


def test_equals_onnxruntime_and_reports_what_it_runs(gpu, runner_class, small, feed, watcher):
    with runner_class(small, watcher=watcher) as runner:
        first = runner.infer(feed)
        feed["image"] = feed["image"] // 2
        second = runner.infer(feed)
        assert runner.name == "tensorrt"
        assert runner.device == "Host GPU (CUDA 12.9, cuda-python)"
        assert str(runner.input_specs["image"]) == "uint8[1, 4, 4, 3]"
        assert str(runner.output_specs["mask"]) == "float32[1, 4, 4]"
        assert runner.uses_graph and runner.graph_problem == ""
    for got, want in zip(second.values(), reference(small, feed), strict=True):
        np.testing.assert_array_equal(got, want)
    assert not np.array_equal(first["mask"], second["mask"])
    assert any("minutes once" in text for text in watcher.messages)


def test_outputs_belong_to_the_caller(runner_class, small, feed, watcher):
    with runner_class(small, watcher=watcher) as runner:
        first = runner.infer(feed)["pooled"].copy(), runner.infer(feed)
        feed["bias"] = feed["bias"] + 1
        runner.infer(feed)
    np.testing.assert_array_equal(first[0], first[1]["pooled"])


def test_a_frame_allocates_nothing_on_device_and_copies_each_tensor_once(gpu, runner_class, small, feed, watcher):
    with runner_class(small, watcher=watcher) as runner:
        out = {name: np.empty(spec.shape, spec.dtype) for name, spec in runner.output_specs.items()}
        gpu.calls.clear()
        for _ in range(3):
            assert runner.infer(feed, out)["mask"] is out["mask"]
    kinds = [call[0] for call in gpu.calls]
    assert kinds[:6] == ["h2d", "h2d", "launch", "d2h", "d2h", "sync"]
    assert kinds[:18] == kinds[:6] * 3
    assert not {"malloc", "host_alloc"} & set(kinds)
    assert [call[1] for call in gpu.calls[:2]] == [48, 12]
    assert len({call[-1] for call in gpu.calls[:6]}) == 1  # one stream
    np.testing.assert_array_equal(out["mask"], reference(small, feed)[1])


def test_falls_back_when_the_graph_cannot_be_recorded(gpu, runner_class, small, feed, watcher):
    gpu.capture_problem = "operation not permitted"
    with runner_class(small, watcher=watcher) as runner:
        got = runner.infer(feed)
        assert not runner.uses_graph
        assert "operation not permitted" in runner.graph_problem
    np.testing.assert_array_equal(got["mask"], reference(small, feed)[1])


def test_graph_can_be_switched_off(runner_class, small, feed, watcher):
    with runner_class(small, watcher=watcher, cuda_graph=False) as runner:
        np.testing.assert_array_equal(runner.infer(feed)["mask"], reference(small, feed)[1])
        assert runner.graph_problem == "switched off"


def test_timings_and_memory(runner_class, small, feed, watcher):
    with runner_class(small, watcher=watcher, timing=True) as runner:
        runner.infer(feed)
        assert set(runner.timings) == {"h2d_ms", "compute_ms", "d2h_ms", "stage_ms", "enqueue_ms", "total_ms"}
        assert all(value >= 0 for value in runner.timings.values())
        memory = runner.memory()
    assert memory.io == memory.pinned == 48 + 12 + 12 + 64
    assert memory.activations == 1 << 20
    assert memory.device_peak == memory.io
    assert memory.device_total == memory.engine + memory.activations + memory.io


def test_close_twice_and_use_afterwards(runner_class, small, feed, watcher):
    runner = runner_class(small, watcher=watcher)
    runner.close()
    runner.close()
    for use in (lambda: runner.infer(feed), runner.memory, lambda: runner.timings):
        with pytest.raises(BackendError, match="has been closed"):
            use()


def test_forgotten_runner_frees_everything(gpu, runner_class, small, watcher):
    runner_class(small, watcher=watcher)
    gc.collect()
    assert gpu.problems() == []


def test_two_runners_in_any_order_on_one_device(gpu, runner_class, onnx_maker, tmp_path, feed, watcher):
    from humar_edge.runtime.device import open_device

    device = open_device()
    runners = [
        runner_class(onnx_maker(tmp_path / f"{n}.onnx", scale=n), device=device, watcher=watcher) for n in (1.0, 3.0)
    ]
    one, three = (runner.infer(feed)["mask"] for runner in runners)
    np.testing.assert_allclose(three, 3 * one, rtol=1e-6)
    runners[0].close()
    np.testing.assert_array_equal(runners[1].infer(feed)["mask"], three)
    runners[1].close()


def test_second_thread_gets_a_clear_error_and_turns_are_fine(runner_class, small, feed, watcher, monkeypatch):
    with runner_class(small, watcher=watcher) as runner:
        inside, leave = threading.Event(), threading.Event()
        run = runner._session.run

        def slow(*arguments):
            inside.set()
            leave.wait(5)
            return run(*arguments)

        monkeypatch.setattr(runner._session, "run", slow)
        worker = threading.Thread(target=runner.infer, args=(feed,))
        worker.start()
        inside.wait(5)
        with pytest.raises(BackendError, match=r"busy in another thread .*MainThread.*one runner per thread"):
            runner.infer(feed)
        leave.set()
        worker.join()
        runner.infer(feed)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"image": np.zeros((1, 4, 5, 3), np.uint8)},
            r"input 'image' must be uint8\[1, 4, 4, 3\], got uint8\[1, 4, 5, 3\]",
        ),
        ({"image": np.zeros((1, 4, 4, 3), np.float32)}, r"input 'image' must be uint8.*got float32"),
        ({"other": np.zeros(1)}, "other"),
    ],
)
def test_wrong_inputs_name_tensor_shape_and_type(runner_class, small, feed, watcher, change, message):
    with runner_class(small, watcher=watcher) as runner, pytest.raises(BackendError, match=message):
        runner.infer({**feed, **change})


def test_wrong_targets(runner_class, small, feed, watcher):
    with runner_class(small, watcher=watcher) as runner:
        with pytest.raises(BackendError, match=r"no array for output 'pooled' float32\[1, 3\]"):
            runner.infer(feed, {})
        wrong = {"pooled": np.zeros((1, 3)), "mask": np.zeros((1, 4, 4), np.float32)}
        with pytest.raises(BackendError, match=r"'pooled' must be float32\[1, 3\], got float64\[1, 3\]"):
            runner.infer(feed, wrong)


def test_failing_run_names_tensors_and_reason(gpu, runner_class, small, feed, watcher, monkeypatch):
    with runner_class(small, watcher=watcher, cuda_graph=False) as runner:
        monkeypatch.setenv("FAKE_TENSORRT_FAIL", "run")
        with pytest.raises(BackendError, match=r"image uint8\[1, 4, 4, 3\].*Error Code 1: Cask"):
            runner.infer(feed)


def test_out_of_device_memory_leaves_nothing(gpu, runner_class, small, watcher):
    gpu.total = 100
    with pytest.raises(BackendError, match=r"allocate 64 bytes.*cudaErrorMemoryAllocation; close other programs"):
        runner_class(small, watcher=watcher)
    gpu.total = 4 << 30


def test_dynamic_shape_is_refused(runner_class, tmp_path, watcher):
    from onnx import TensorProto, helper

    node = helper.make_node("Relu", ["x"], ["y"])
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3]) for name in "xy"]
    graph = helper.make_graph([node], "dynamic", values[:1], values[1:])
    path = tmp_path / "dynamic.onnx"
    path.write_bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    )
    with pytest.raises(BackendError, match=r"tensor 'x' is float32\[-1, 3\]: the shape is dynamic"):
        runner_class(path, watcher=watcher)


def test_engine_file_runs_directly_and_is_never_rebuilt(gpu, runner_class, small, feed, watcher, tmp_path, monkeypatch):
    from humar_edge.runtime.device import open_device
    from humar_edge.runtime.tensorrt.builder import EngineBuilder

    target = tmp_path / "out" / "vision.engine"
    EngineBuilder(small, open_device(), watcher=watcher).build_to(target)
    assert sorted(path.name for path in target.parent.iterdir()) == ["vision.engine", "vision.json"]
    with runner_class(target) as runner:
        np.testing.assert_array_equal(runner.infer(feed)["mask"], reference(small, feed)[1])
    import tensorrt

    monkeypatch.setattr(tensorrt, "__version__", "11.4.0.106")
    with pytest.raises(
        BackendError, match=r"built by TensorRT 10\.16\.1\.11, this is TensorRT 11\.4\.0\.106: .*rebuild"
    ):
        runner_class(target)


def test_missing_engine_file(runner_class, tmp_path):
    with pytest.raises(BackendError, match=r"cannot read the engine .*No such file"):
        runner_class(tmp_path / "no.engine")
