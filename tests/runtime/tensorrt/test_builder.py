"""Building and keeping engines: the build process runs for real, with the double of TensorRT inside."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from humar_edge.errors import BackendError, ConfigError


@pytest.fixture
def make(gpu, watcher):
    """A function that makes a builder."""
    from humar_edge.runtime.device import open_device
    from humar_edge.runtime.tensorrt.builder import EngineBuilder

    return lambda path, options=None: EngineBuilder(path, open_device(), options, watcher=watcher)


def facts(engine) -> dict:
    """What the double wrote into the plan: the configuration it was built with."""
    return json.loads(engine.data.split(b"\n")[0].removeprefix(b"FAKE-PLAN "))


def files(tmp_path) -> list[str]:
    """Everything in the cache but locks."""
    root = tmp_path / "cache"
    return sorted(
        path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file() and path.suffix != ".lock"
    )


def test_builds_once_then_reads(make, small, watcher, tmp_path):
    first = make(small).engine()
    again = make(small).engine()
    assert (first.built, again.built) == (True, False)
    assert first.data == again.data == first.path.read_bytes()
    assert [Path(name).suffix for name in files(tmp_path)] == [".engine", ".json", ".bin"]
    assert [event["event"] for event in watcher.events] == ["start", *["step"] * 4, "finish", "warning"]
    assert sum("building the fp32 TensorRT 10.16.1.11 engine" in text for text in watcher.messages) == 1


def test_engine_is_pure_and_the_sidecar_describes_it(make, small):
    engine = make(small).engine()
    assert engine.data.startswith(b"FAKE-PLAN ")
    described = json.loads(engine.path.with_suffix(".json").read_text())
    expected = {
        "tensorrt": "10.16.1.11",
        "cuda": "12.9",
        "compute_capability": "8.7",
        "precision": "fp32",
        "gpu": "Host GPU",
    }
    assert expected.items() <= described.items()
    assert described["engine_bytes"] == len(engine.data)
    assert described["build_peak_rss"] > 0


def test_options_reach_the_builder(make, small):
    from humar_edge.runtime.tensorrt.options import BuildOptions

    plain = facts(make(small).engine())
    assert (plain["flags"], plain["level"], plain["workspace"]) == (["TF32"], 3, None)
    options = BuildOptions(
        workspace_mb=64, optimization_level=5, version_compatible=True, hardware_compatible=True, tf32=False
    )
    made = facts(make(small, options).engine())
    assert (made["flags"], made["level"], made["workspace"]) == (["VERSION_COMPATIBLE"], 5, 64 << 20)
    assert made["hardware"] == "AMPERE_PLUS"
    assert (plain["timings"], made["timings"]) == ("", "timed;")  # the second build starts from the first one's timings
    assert facts(make(small, BuildOptions(timing_cache=False, workspace_mb=65)).engine())["timings"] is None


def test_integrated_gpu_gets_half_of_the_free_memory(gpu, make, small):
    from humar_edge.runtime.tensorrt.options import BuildOptions

    gpu.integrated, gpu.total = 1, 8 << 30
    assert facts(make(small).engine())["workspace"] == 4 << 30
    with pytest.raises(ConfigError, match="hardware-compatible engines do not exist on a Jetson"):
        make(small, BuildOptions(hardware_compatible=True))


@pytest.mark.parametrize("wrong", [{"optimization_level": 6}, {"workspace_mb": 0}])
def test_wrong_options(gpu, wrong):
    from humar_edge.runtime.tensorrt.options import BuildOptions

    with pytest.raises(ConfigError):
        BuildOptions(**wrong)


def test_changed_onnx_options_gpu_and_version_build_again(gpu, make, small, onnx_maker, monkeypatch):
    from humar_edge.runtime.tensorrt.options import BuildOptions

    names = [make(small).entry.engine.name, make(small, BuildOptions(tf32=False)).entry.engine.name]
    onnx_maker(small, scale=5.0)
    names.append(make(small).entry.engine.name)
    gpu.compute_capability = (8, 9)
    names.append(make(small).entry.engine.name)
    import tensorrt

    monkeypatch.setattr(tensorrt, "__version__", "11.4.0.106")
    names.append(make(small).entry.engine.name)
    assert len(set(names)) == 5


def test_truncated_engine_is_built_again_with_a_message(make, small, watcher):
    first = make(small).engine()
    first.path.write_bytes(first.data[:10])
    again = make(small).engine()
    assert again.built and facts(again)["size"] == facts(first)["size"]
    wanted = f"is damaged: it has 10 bytes instead of {len(first.data)}; building it again"
    assert sum(wanted in text for text in watcher.messages) == 1


def test_changed_byte_and_broken_sidecar_are_noticed(make, small, watcher):
    first = make(small).engine()
    first.path.write_bytes(first.data[:-1] + b"x")
    assert make(small).engine().built
    first.path.with_suffix(".json").write_text("{")
    assert make(small).engine().built
    assert [text.split("damaged: ")[1].split(";")[0] for text in watcher.messages if "damaged" in text] == [
        "its content has changed",
        "its description cannot be read",
    ]


def test_version_mismatch_inside_rebuilds_once_and_names_both(gpu, make, small, watcher, feed, monkeypatch):
    """An engine under the right key that TensorRT refuses, as after a library was swapped."""
    from humar_edge.runtime.runners.tensorrt import TensorRTRunner

    engine = make(small).engine()
    other = engine.data.replace(b'"10.16.1.11"', b'"10.16.0.99"')
    engine.path.write_bytes(other)
    from humar_edge.runtime.tensorrt.cache import Entry

    described = Entry(engine.path).metadata()
    Entry(engine.path).write_sidecar({**described, "tensorrt": "10.16.0.99"})
    watcher.messages.clear()
    with TensorRTRunner(small, watcher=watcher) as runner:
        runner.infer(feed)
    assert sum("building the" in text for text in watcher.messages) == 1
    assert any("built by TensorRT 10.16.0.99, this is TensorRT 10.16.1.11" in text for text in watcher.messages)


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        ("oom", r"OutOfMemory \(Requested size.*\(out of memory; close other programs, lower the workspace limit"),
        ("killed", "killed by the system, most likely out of memory; close other programs"),
        ("crash", r"crashed with SIGSEGV; .*something in a plugin"),
        ("silent", "TensorRT gave no reason"),
        ("parse", r"TensorRT 10\.16\.1\.11 cannot parse the ONNX file: node '/det/Det' \(Det\): Assertion failed"),
    ],
)
def test_failed_build_says_why_and_leaves_nothing(make, small, tmp_path, monkeypatch, problem, message):
    monkeypatch.setenv("FAKE_TENSORRT_FAIL", problem)
    with pytest.raises(BackendError, match=message):
        make(small).engine()
    assert files(tmp_path) == []
    assert [path.name for path in (tmp_path / "cache" / "tensorrt").iterdir()] == ["locks"]


def test_worker_that_does_not_start_says_why(make, small, monkeypatch):
    builder = make(small)
    monkeypatch.setenv("FAKE_TENSORRT_STEP_SECONDS", "soon")
    with pytest.raises(BackendError, match=r"could not convert string to float|ended with exit code 1"):
        builder.engine()


TALKATIVE = """
import json
for line in ("7", "[]", "{}", "plain words", json.dumps({"event": "step", "phase": "p", "step": 0})):
    print(line)
print(json.dumps({"event": "done", "engine_bytes": 1, "seconds": 0.0, "peak_rss": 1}))
"""


def test_what_libraries_print_is_no_event(gpu, monkeypatch, tmp_path):
    from humar_edge.runtime.tensorrt import worker_client

    (tmp_path / "stand_in" / "talkative.py").write_text(TALKATIVE)
    monkeypatch.setattr(worker_client, "WORKER", "talkative")
    events: list[dict] = []
    assert worker_client.run_worker({}, events.append)["engine_bytes"] == 1
    assert [event["event"] for event in events] == ["step"]


CHILD = """
import sys
from pathlib import Path
sys.path.insert(0, {support!r})
import pytest, doubles
doubles.install(pytest.MonkeyPatch(), Path({tmp!r}))
from humar_edge.runtime.device import open_device
from humar_edge.runtime.tensorrt.builder import EngineBuilder
from humar_edge.runtime.tensorrt.progress import RichWatcher
engine = EngineBuilder(Path({onnx!r}), open_device()).engine()
print("built" if engine.built else "read")
"""


def child(small, tmp_path, **environment) -> subprocess.Popen:
    code = CHILD.format(support=str(Path(__file__).parents[2] / "support"), tmp=str(tmp_path), onnx=str(small))
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.slow
def test_two_processes_build_once(gpu, small, tmp_path):
    both = [child(small, tmp_path, FAKE_TENSORRT_STEP_SECONDS="0.5") for _ in range(2)]
    results = [process.communicate(timeout=60) for process in both]
    assert sorted(out.strip() for out, _ in results) == ["built", "read"]
    assert sum("another process is building" in " ".join(error.split()) for _, error in results) == 1


def wait_for_building(tmp_path) -> None:
    deadline = time.monotonic() + 30
    while not list((tmp_path / "cache").rglob("*.building")):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
def test_interrupted_build_leaves_nothing(gpu, small, tmp_path):
    process = child(small, tmp_path, FAKE_TENSORRT_STEP_SECONDS="30")
    wait_for_building(tmp_path)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert files(tmp_path) == []
    assert list((tmp_path / "cache").rglob("*.building")) == []


@pytest.mark.slow
def test_build_after_a_killed_one_starts_clean(gpu, make, small, tmp_path):
    process = child(small, tmp_path, FAKE_TENSORRT_STEP_SECONDS="30")
    wait_for_building(tmp_path)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert list((tmp_path / "cache").rglob("*.building"))
    assert make(small).engine().built
    assert list((tmp_path / "cache").rglob("*.building")) == []


def test_read_only_cache_builds_for_this_run_only(gpu, small, watcher, feed, tmp_path, monkeypatch):
    from humar_edge.runtime.runners.tensorrt import TensorRTRunner

    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HUMAR_EDGE_CACHE", str(tmp_path / "file" / "cache"))
    with TensorRTRunner(small, watcher=watcher) as runner:
        runner.infer(feed)
    assert any("is not writable (Not a directory)" in m and "set HUMAR_EDGE_CACHE" in m for m in watcher.messages)


def test_directory_without_write_permission(gpu, make, small, watcher, tmp_path, monkeypatch):
    directory = tmp_path / "cache" / "tensorrt"
    directory.mkdir(parents=True)
    directory.chmod(0o500)
    if os.access(directory, os.W_OK):  # root may write everywhere, except to what is mounted read-only
        asked = os.access
        monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != directory and asked(path, mode))
    made = make(small).engine()
    directory.chmod(0o700)
    assert made.path is None and made.data.startswith(b"FAKE-PLAN ")
    assert any("is not writable (Permission denied)" in message for message in watcher.messages)
    assert files(tmp_path) == []


def test_readable_engine_in_a_read_only_cache_is_used(make, small, monkeypatch):
    from humar_edge.runtime.tensorrt.cache import EngineCache

    make(small).engine()

    def refuse(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(EngineCache, "prepare", refuse)
    assert not make(small).engine().built


def test_not_onnx(make, tmp_path):
    for content in (b"", b"not a model at all"):
        (tmp_path / "bad.onnx").write_bytes(content)
        with pytest.raises(BackendError, match=r"cannot read .*bad\.onnx as ONNX"):
            make(tmp_path / "bad.onnx")
    with pytest.raises(BackendError, match="No such file"):
        make(tmp_path / "none.onnx")


def test_precision_is_read_from_the_graph(make, onnx_maker, tmp_path):
    assert make(onnx_maker(tmp_path / "h.onnx", half=True)).fingerprint["precision"] == "fp16"


def test_plugin_is_loaded_when_the_graph_wants_it(gpu, make, onnx_maker, tmp_path, monkeypatch):
    name = "MultiscaleDeformableAttnPlugin_TRT"
    path = onnx_maker(tmp_path / "p.onnx", operator=name)
    builder = make(path)
    assert builder.plugin is None  # the function in the file does
    library = tmp_path / "libhumar_plugins.so"
    library.write_bytes(b"ELF.")
    monkeypatch.setenv("HUMAR_EDGE_PLUGIN", str(library))
    from humar_edge.runtime.runners.tensorrt import TensorRTRunner

    made = make(path).engine()
    assert facts(made)["plugins"] == [str(library)]
    with TensorRTRunner(path):
        import tensorrt

        assert tensorrt._loaded_plugins == [str(library)]
    monkeypatch.setenv("HUMAR_EDGE_PLUGIN", str(tmp_path / "gone.so"))
    with pytest.raises(BackendError, match=r"HUMAR_EDGE_PLUGIN names .*gone\.so, which does not exist"):
        make(path)


def test_refused_plugin(gpu, make, onnx_maker, tmp_path, monkeypatch):
    path = onnx_maker(tmp_path / "p.onnx", operator="MultiscaleDeformableAttnPlugin_TRT")
    library = tmp_path / "libhumar_plugins.so"
    library.write_bytes(b"BAD!")
    monkeypatch.setenv("HUMAR_EDGE_PLUGIN", str(library))
    with pytest.raises(BackendError, match="refuses the plugin library"):
        make(path).engine()
