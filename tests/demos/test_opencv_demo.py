"""The OpenCV demo: keys and pictures, without a window."""

from __future__ import annotations

import sys

import numpy as np
import pytest

pytest.importorskip("humar_edge.runtime.draw")

from humar_edge import HumarEdge
from humar_edge.demos import opencv_demo
from humar_edge.runtime.sources import Frame

SIZE = (96, 128)


@pytest.fixture
def demo(tiny_bundle, tmp_path):
    with HumarEdge(tiny_bundle, backend="onnxruntime", threads=1) as humar:
        yield opencv_demo.Demo(humar, "red", tmp_path / "saved")


def press(demo, *keys):
    for key in keys:
        demo.key(key if isinstance(key, int) else ord(key))


def test_person_is_drawn(demo, colour_scene):
    image = colour_scene(SIZE, {"red": (40, 20, 60, 80)})
    picture = demo.update(Frame(0, 0.0, image.copy(), "camera"))
    assert picture.shape == image.shape and not np.array_equal(picture, image)
    assert np.array_equal(demo.overlay(picture), picture)


def test_prompt_is_typed(demo):
    press(demo, "t", *"blux", 8, "e", " ", "q", 127, 13)
    assert demo.text == "blue" and demo.typing is None and not demo.done
    press(demo, "t", *"green", opencv_demo.ESCAPE)
    assert demo.text == "blue" and not demo.done
    press(demo, "t", 13)
    assert demo.text == "blue"


def test_pause_save_and_quit(demo, colour_scene, capsys):
    press(demo, "s")
    assert not demo.folder.exists()
    demo.update(Frame(0, 0.0, colour_scene(SIZE, {}), "camera"))
    press(demo, " ", "s", -1, "z")
    assert demo.paused and not np.array_equal(demo.overlay(demo.picture), demo.picture)
    (saved,) = demo.folder.iterdir()
    assert str(saved) in capsys.readouterr().out
    press(demo, " ", "q")
    assert not demo.paused and demo.done


def test_no_display_is_a_clear_error(monkeypatch, capsys):
    monkeypatch.setattr(opencv_demo, "display_problem", lambda: "there is no display")
    monkeypatch.setattr(sys, "argv", ["opencv_demo", "--text", "red"])
    with pytest.raises(SystemExit) as stop:
        opencv_demo.main()
    assert stop.value.code == 2
    assert (
        capsys.readouterr().err == "error: there is no display; use humar-edge run --output FILE or humar-edge serve\n"
    )
