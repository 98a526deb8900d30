"""Meters read made-up sysfs trees and a made-up nvidia-smi."""

from __future__ import annotations

import time

import pytest

from humar_edge.runtime.bench import power


@pytest.fixture
def sysfs(monkeypatch, tmp_path):
    """`sysfs({"path": "content"})` writes files below a /sys of its own."""
    monkeypatch.setattr(power, "SYS", tmp_path / "sys")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))

    def write(files: dict[str, object]) -> None:
        for name, content in files.items():
            path = tmp_path / "sys" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{content}\n")

    return write


def test_no_meter_where_nothing_can_be_read(sysfs):
    assert power.open_meter("cpu") is power.open_meter("gpu") is None
    assert power.cpu_throttle_events() == 0


RAPL = "class/powercap/intel-rapl:0"


def test_rapl_divides_energy_by_time(sysfs, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(power.time, "perf_counter", lambda: clock[0])
    sysfs({f"{RAPL}/energy_uj": 9_000_000, f"{RAPL}/max_energy_range_uj": 10_000_000})
    sysfs({"class/powercap/intel-rapl:0:0/energy_uj": 5})  # a part of the package, counted already
    meter = power.open_meter("cpu")
    meter.begin()
    clock[0] += 2
    sysfs({f"{RAPL}/energy_uj": 9_500_000})
    assert meter.end() == pytest.approx(0.25)
    sysfs({f"{RAPL}/energy_uj": 1_000_000})  # started again at zero
    assert meter.end() == pytest.approx(1.0)
    (power.SYS / RAPL / "energy_uj").unlink()
    assert meter.end() is None
    meter.close()


INA = "bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3"


def test_jetson_takes_the_rail_of_the_whole_module(sysfs):
    rails = {f"{INA}/in1_label": "VDD_IN", f"{INA}/in1_input": 5000, f"{INA}/curr1_input": 1200}
    parts = {f"{INA}/in2_label": "VDD_CPU_GPU_CV", f"{INA}/in2_input": 5000, f"{INA}/curr2_input": 400}
    sysfs({**rails, **parts, f"{INA}/in7_label": "sum of shunt voltages"})
    for kind in ("cpu", "gpu"):
        meter = power.open_meter(kind)
        meter.begin()
        assert meter.end() == pytest.approx(6.0)
        assert not meter.throttled()
        meter.close()


def test_jetson_adds_rails_without_a_whole_one(sysfs):
    for number, name in ((1, "GPU"), (2, "CPU")):
        sysfs({f"{INA}/in{number}_label": name, f"{INA}/in{number}_input": 5000, f"{INA}/curr{number}_input": 200})
    assert power.open_meter("gpu").end() == pytest.approx(2.0)


SMI = """#!/bin/sh
case "$*" in *--query-gpu=power.draw,clocks_throttle_reasons.active*) ;; *) exit 1 ;; esac
echo "%s, %s"
echo "%s, 0x0000000000000004"
exec sleep 60
"""


def read_smi(tmp_path, first: tuple[str, str], second: str):
    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir(exist_ok=True)
    program.write_text(SMI % (*first, second))
    program.chmod(0o755)
    meter = power.NvidiaSmi(str(program))
    deadline = time.monotonic() + 20
    while len(meter._samples) < 2 and time.monotonic() < deadline and not first[0].startswith("["):
        time.sleep(0.01)
    return meter


def test_nvidia_smi_averages_and_reports_heat(sysfs, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    meter = read_smi(tmp_path, ("20.0", "0x0000000000000020"), "30.0")
    assert meter.end() == pytest.approx(25.0)
    assert meter.throttled() == ["GPU: software thermal slowdown"]
    meter.begin()
    assert meter.end() is None
    meter.close()
    assert meter._process.returncode is not None


def test_nvidia_smi_without_the_sensor(sysfs, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    meter = read_smi(tmp_path, ("[N/A]", "[N/A]"), "[N/A]")
    assert meter.end() is None
    assert list(meter.throttled()) == []
    meter.close()


def test_throttle_events_of_all_processors(sysfs):
    for cpu, events in ((0, 3), (1, 4)):
        sysfs({f"devices/system/cpu/cpu{cpu}/thermal_throttle/core_throttle_count": events})
    assert power.cpu_throttle_events() == 7
