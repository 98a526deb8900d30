"""`humar-edge doctor`, on this machine and on imagined ones."""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from humar_edge.cli.doctor import command

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))
import doubles

STATES = {"OK", "missing", "wrong version", "low"}


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """A machine without GPU packages."""
    doubles.install(monkeypatch, tmp_path, tensorrt=False, cuda=False)
    for name in ("tensorrt", "cuda", "pycuda"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setenv("HUMAR_EDGE_CACHE", str(tmp_path / "not" / "there"))
    monkeypatch.delenv("HUMAR_EDGE_PLUGIN", raising=False)
    yield tmp_path
    doubles.forget()


def by_subject(findings) -> dict:
    return {finding.subject: finding for finding in findings}


def test_json_and_text_say_the_same(bare):
    pytest.importorskip("openvino")
    result = CliRunner().invoke(command, ["--json"])
    report = json.loads(result.output)
    assert result.exit_code == 0 and report["can_run"] and report["schema_version"] == 1
    assert {finding["state"] for finding in report["findings"]} <= STATES
    assert all(finding["advice"] for finding in report["findings"] if finding["state"] != "OK")
    text = CliRunner().invoke(command, [])
    assert text.exit_code == 0 and text.output.endswith("bundles can run here\n")
    assert all(finding["subject"] in text.output for finding in report["findings"])
    assert "TensorRT is not installed; run: pip install 'humar-edge[tensorrt]'" in text.output


def test_exit_code_when_nothing_can_run(bare, monkeypatch):
    from humar_edge.runtime import doctor

    monkeypatch.setattr(doctor, "CHECKS", (lambda: [doctor.Finding("OpenVINO", doctor.MISSING, "", "install it")],))
    result = CliRunner().invoke(command, [])
    assert result.exit_code == 1 and "nothing can run here" in result.output


def test_machine_with_a_gpu(monkeypatch, tmp_path):
    gpu = doubles.install(monkeypatch, tmp_path)
    from humar_edge.runtime import doctor

    found = by_subject(doctor._gpu() + doctor._tensorrt() + doctor._cuda_packages())
    assert found["GPU"].found == "Host GPU, compute capability 8.7, 4.0 of 4.0 GiB free"
    assert (found["driver"].found, found["CUDA"].found) == ("up to CUDA 13.0", "12.9")
    assert found["TensorRT"].found == "10.16.1.11"
    assert found["pycuda"].advice == "not needed: cuda-python works"
    assert doctor.can_run(list(found.values()))
    import fake_cudart
    import tensorrt

    monkeypatch.setattr(fake_cudart, "cudaDriverGetVersion", lambda: (fake_cudart.cudaError_t.cudaSuccess, 11040))
    found = by_subject(doctor._gpu())
    assert found["CUDA"].state == "wrong version"
    assert found["CUDA"].advice == "install a newer driver, or packages for CUDA 11"
    monkeypatch.setattr(tensorrt, "__version__", "8.6.1")
    assert doctor._tensorrt()[0].state == "wrong version"
    gpu.devices = 0
    only_tensorrt = [doctor.Finding("TensorRT", doctor.OK, ""), *doctor._gpu()]
    assert not doctor.can_run(only_tensorrt)
    gc.collect()
    assert gpu.problems() == []
    doubles.forget()


def test_package_versions(bare, monkeypatch):
    from humar_edge.runtime import doctor

    monkeypatch.setattr(doctor, "version", lambda name: "2023.3.0-1")
    old = doctor._package("OpenVINO", "openvino", (2024, 4), "update it")
    assert (old.state, old.advice) == ("wrong version", "2024.4 or newer is needed; update it")


def test_little_memory_and_disk(bare, monkeypatch):
    from humar_edge.runtime import doctor

    monkeypatch.setattr(doctor, "memory", lambda: (1 << 29, 4 << 30))
    monkeypatch.setattr(doctor, "disk", lambda path: 1 << 30)
    found = by_subject(doctor._machine())
    assert (found["memory"].state, found["memory"].found) == ("low", "0.5 of 4.0 GiB free")
    assert found["disk"].state == "low" and "HUMAR_EDGE_CACHE" in found["disk"].advice


def test_jetson(bare, monkeypatch):
    from humar_edge.runtime import doctor, doctor_system

    assert doctor_system.jetson() is None
    release = bare / "nv_tegra_release"
    release.write_text("# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64\n")
    tool = bare / "nvpmodel"
    tool.write_text("#!/bin/sh\necho 'NV Power Mode: 15W'\necho 2\n")
    tool.chmod(0o755)
    monkeypatch.setattr(doctor_system, "TEGRA", release)
    monkeypatch.setenv("PATH", str(bare))
    assert doctor_system.jetson() == {"release": "L4T 36.4.3", "mode": "15W"}
    assert "nvpmodel -m 0" in by_subject(doctor._machine())["power mode"].advice
    tool.unlink()
    assert "does not answer" in doctor_system.jetson()["mode"]


def test_opencv_parts(bare, monkeypatch):
    cv2 = pytest.importorskip("cv2")
    from humar_edge.runtime import doctor, doctor_system

    information = (
        "  GUI:                           NONE\n    FFMPEG:    YES\n    GStreamer:   YES (1.20.3)\n    QT:  NO\n"
    )
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: information)
    parts = doctor_system.opencv_parts()
    assert (parts["GStreamer"], parts["FFmpeg"], parts["GUI"]) == ("YES (1.20.3)", "YES", "")
    assert "--headless" in by_subject(doctor._opencv())["OpenCV GUI"].advice


def test_cameras(bare, monkeypatch):
    from humar_edge.runtime import doctor_system

    for number in (0, 2, 10):
        (bare / f"video{number}").write_text("")
    monkeypatch.setattr(doctor_system, "DEVICES", bare)
    assert [Path(path).name for path in doctor_system.cameras()] == ["video0", "video2", "video10"]


def test_plugin_place(bare, monkeypatch):
    from humar_edge.runtime import doctor
    from humar_edge.runtime.tensorrt import plugin

    monkeypatch.setattr(plugin, "PLACES", (("build directory", bare),))
    assert doctor._plugin()[0].state == "missing"
    (bare / plugin.LIBRARIES[0]).write_bytes(b"")
    assert doctor._plugin()[0].found == str(bare / plugin.LIBRARIES[0])
    monkeypatch.setenv("HUMAR_EDGE_PLUGIN", str(bare / "gone.so"))
    assert "does not exist" in doctor._plugin()[0].advice
