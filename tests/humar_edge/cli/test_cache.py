"""`humar-edge cache`."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from humar_edge.cli.cache import command


@pytest.fixture
def entry(tmp_path, monkeypatch):
    monkeypatch.setenv("HUMAR_EDGE_CACHE", str(tmp_path))
    from humar_edge.runtime.tensorrt.cache import EngineCache

    cache = EngineCache()
    cache.prepare()
    made = cache.entry("vision", "abc")
    made.engine.write_bytes(b"x" * 2_000_000)
    made.write_sidecar({"precision": "fp16", "tensorrt": "10.16.1.11", "cuda": "12.9", "gpu": "Orin", "built": "today"})
    return made


def run(*arguments: str):
    return CliRunner().invoke(command, list(arguments), catch_exceptions=False)


def test_list(entry):
    out = run("list").output
    for wanted in ("vision-abc.engine", "2.0", "fp16", "10.16.1.11", "Orin", str(entry.engine.parent.name)):
        assert wanted in out
    (described,) = json.loads(run("list", "--json").output)
    assert described["engine_bytes"] == 2_000_000 and described["file"] == str(entry.engine)


def test_incomplete_engine_is_not_listed(entry):
    entry.sidecar.unlink()
    assert "no engines in" in run("list").output
    assert json.loads(run("list", "--json").output) == []


def test_clear_asks_and_removes_everything(entry):
    refused = CliRunner().invoke(command, ["clear"], input="n\n")
    assert refused.exit_code == 1 and entry.exists()
    assert "remove 1 engines" in refused.output
    left = entry.engine.parent / "vision-old.building"
    left.mkdir()
    (left / "new.engine").write_bytes(b"half")
    (entry.engine.parent / "timing-10.16-sm87.bin").write_bytes(b"t")
    assert "removed 4 files, 2.0 MB" in run("clear", "--yes").output
    assert [path.name for path in entry.engine.parent.iterdir()] == ["locks"]
    assert "removed 0 files" in run("clear", "--yes").output


def test_clear_without_a_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HUMAR_EDGE_CACHE", str(tmp_path / "none"))
    assert "removed 0 files, 0.0 MB" in run("clear", "--yes").output


def test_path(entry):
    assert run("path").output.strip() == str(entry.engine.parent)


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {"XDG_CACHE_HOME": "/x"}, "/x/humar-edge"),
        ("linux", {"HOME": "/h"}, "/h/.cache/humar-edge"),
        ("darwin", {"HOME": "/h"}, "/h/Library/Caches/humar-edge"),
        ("win32", {"LOCALAPPDATA": "/l"}, "/l/humar-edge/cache"),
        ("linux", {"HUMAR_EDGE_CACHE": "/own"}, "/own"),
    ],
)
def test_place_by_platform(monkeypatch, platform, variables, expected):
    from humar_edge.runtime.tensorrt import cache

    for name in ("HUMAR_EDGE_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(cache.sys, "platform", platform)
    assert cache.cache_root().as_posix() == expected
