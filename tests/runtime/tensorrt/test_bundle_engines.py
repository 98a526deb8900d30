"""`humar-edge export --format engine`, on TensorRT's double and without any."""

from __future__ import annotations

import json
import sys

import pytest
from click.testing import CliRunner

from humar_edge.errors import BackendError, ConfigError

ENGINES = ("text", "vision", "positional")


@pytest.fixture
def export():
    """Runs the verb; errors are raised, as `main` wants them."""
    from humar_edge.cli.export import command

    return lambda *arguments: CliRunner().invoke(command, [*map(str, arguments)], catch_exceptions=False)


def test_engines_are_built_where_the_runner_finds_them(gpu, tiny_bundle, export, tmp_path, capfd):
    out = export("--model", tiny_bundle, "--format", "engine").output
    for name in ENGINES:
        assert f"{name}: " in out
    assert out.count("built: ") == 3 and f"humar-edge run --model {tiny_bundle} --backend tensorrt" in out
    assert len(list((tmp_path / "cache" / "tensorrt").glob("*.engine"))) == 3

    from humar_edge.runtime.runners import open_runner

    capfd.readouterr()
    for name in ENGINES:
        open_runner(tiny_bundle / f"{name}.onnx", "tensorrt").close()
    assert "building" not in capfd.readouterr().err
    assert export("--model", tiny_bundle, "--format", "engine").output.count("taken from the cache: ") == 3


def test_copies_are_pure_engines_with_a_description(gpu, tiny_bundle, export, tmp_path):
    folder = tmp_path / "new" / "engines"
    out = export("--model", tiny_bundle, "--format", "engine", "--output", folder).output
    assert str(folder / "vision.engine") in out
    wanted = {f"{name}.{suffix}" for name in ENGINES for suffix in ("engine", "json")}
    assert {path.name for path in folder.iterdir()} == wanted
    assert (folder / "vision.engine").read_bytes().startswith(b"FAKE-PLAN ")
    assert json.loads((folder / "vision.json").read_text())["tensorrt"] == "10.16.1.11"

    from humar_edge.runtime.runners.tensorrt import TensorRTRunner

    with TensorRTRunner(folder / "vision.engine") as runner:
        assert "score" in runner.output_specs


def test_both_halves_of_a_split_bundle_are_built(gpu, make_tiny_bundle, export, tmp_path):
    make_tiny_bundle(tmp_path / "split", positional=False, split=True)
    out = export("--model", tmp_path / "split", "--format", "engine").stdout
    assert [line.partition(":")[0] for line in out.splitlines()[:-1]] == ["text", "vision", "features", "prompt"]


def test_a_new_bundle_gets_its_engines(gpu, tiny_bundle, export, monkeypatch, tmp_path):
    """The export itself is tested elsewhere; here it returns a bundle that exists."""
    session = pytest.importorskip("humar_edge.export.session")
    from humar_edge.bundle import Bundle

    asked = []
    monkeypatch.setattr(session, "export", lambda **options: asked.append(options) or Bundle.load(tiny_bundle))
    out = export("--combo", "edge-lite", "--untrained", "--output", tmp_path / "b", "--format", "engine").output
    assert out.count("built: ") == 3
    assert asked[0]["combo"] == "edge-lite" and asked[0]["output"] == tmp_path / "b"
    assert not (tmp_path / "b").exists()  # copies of engines are no part of a bundle


@pytest.mark.parametrize("packages", [{"tensorrt": False, "cuda": False}, {}])
def test_without_tensorrt_or_gpu_nothing_expensive_starts(packages, monkeypatch, tmp_path, capsys):
    import doubles

    from humar_edge.cli.main import main

    gpu = doubles.install(monkeypatch, tmp_path, **packages)
    gpu.devices = 0
    if packages:
        for name in ("tensorrt", "cuda", "pycuda"):
            monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "humar_edge.export.session", None)
    output = tmp_path / "b"
    arguments = ["export", "--combo", "edge-lite", "--untrained", "--output", str(output), "--format", "engine"]
    monkeypatch.setattr(sys, "argv", ["humar-edge", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    doubles.forget()
    (line,) = capsys.readouterr().err.splitlines()
    reason = "TensorRT is not installed; run: pip install" if packages else "no CUDA device: "
    assert ended.value.code == 2
    assert line.startswith(f"error: engines are built where they run, with TensorRT and an NVIDIA GPU: {reason}")
    assert not output.exists()


def test_a_cache_that_is_not_writable_is_noticed_first(gpu, tiny_bundle, export, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HUMAR_EDGE_CACHE", str(tmp_path / "file"))
    with pytest.raises(BackendError, match=r"cannot be written .* --output FOLDER"):
        export("--model", tiny_bundle, "--format", "engine")
    out = export("--model", tiny_bundle, "--format", "engine", "--output", tmp_path / "engines").output
    assert out.count("built: ") == 3 and (tmp_path / "engines" / "text.json").is_file()


def test_a_failed_build_leaves_nothing(gpu, tiny_bundle, export, monkeypatch, tmp_path):
    monkeypatch.setenv("FAKE_TENSORRT_FAIL", "oom")
    with pytest.raises(BackendError, match="out of memory; close other programs"):
        export("--model", tiny_bundle, "--format", "engine", "--output", tmp_path / "engines")
    assert list((tmp_path / "engines").iterdir()) == []
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file() and path.suffix != ".lock"] == []


@pytest.mark.parametrize(
    "arguments", [["--model", "b"], ["--model", "b", "--output", "c"], ["--model", "b", "--combo", "edge-lite"]]
)
def test_what_does_not_go_together(export, arguments):
    with pytest.raises(ConfigError, match="--model goes with --format engine"):
        export(*arguments)


def test_a_file_in_the_way(gpu, tiny_bundle, export, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BackendError, match="cannot write to"):
        export("--model", tiny_bundle, "--format", "engine", "--output", tmp_path / "file")
    with pytest.raises(ConfigError, match="is a bundle, which holds no engine files"):
        export("--model", tiny_bundle, "--format", "engine", "--output", tiny_bundle)
