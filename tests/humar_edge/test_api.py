from __future__ import annotations

import subprocess
import sys

import cv2
import numpy as np
import pytest

from humar_edge import HumarEdge, Person
from humar_edge.errors import PromptError, SourceError

RED = (60, 30, 110, 90)


@pytest.fixture(scope="module")
def humar(tiny_bundle):
    with HumarEdge(tiny_bundle, backend="onnxruntime", threads=1) as humar:
        yield humar


@pytest.fixture
def picture(colour_scene, tmp_path):
    path = tmp_path / "Straße 女.png"
    path.write_bytes(cv2.imencode(".png", colour_scene((120, 160), {"red": RED}))[1].tobytes())
    return path


def test_predict_takes_paths_and_arrays_and_every_prompt(humar, picture, colour_scene):
    frame = colour_scene((120, 160), {"red": RED})
    assert humar.backend == "onnxruntime" and "CPU" in humar.device and humar.bundle.manifest.name == "tiny"
    prompts = [{"text": "red"}, {"points": (80, 60)}, {"scribble": [(70, 40), (90, 80)]}, {"box": (65, 35, 105, 85)}]
    for prompt in prompts:
        for image in (picture, str(picture), frame):
            person = humar.predict(image, **prompt)
            assert isinstance(person, Person) and person.found and np.abs(person.box_xyxy - RED).max() <= 1.5
    assert humar.predict(frame, "red").plot(frame).shape == frame.shape


def test_several_people_in_one_picture(humar, picture):
    red, blue = humar.predict_many(picture, ["the red person", "blue"])
    assert red.found and not blue.found and red.to_dict() == humar.predict(picture, "the red person").to_dict()


def test_exactly_one_prompt(humar, picture):
    with pytest.raises(PromptError, match="got none"):
        humar.predict(picture)
    with pytest.raises(PromptError, match="got text and box"):
        humar.predict(picture, text="red", box=(1, 2, 3, 4))


def test_bad_pictures(humar, tmp_path):
    with pytest.raises(SourceError, match="No such file"):
        humar.predict(tmp_path / "absent.png", text="red")
    for content in (b"", b"not a picture"):
        (tmp_path / "bad.png").write_bytes(content)
        with pytest.raises(SourceError, match="not a picture"):
            humar.predict(tmp_path / "bad.png", text="red")


def test_stream(humar, picture):
    results = list(humar.stream(picture, text="red"))
    assert len(results) == 1
    frame, person = results[0]
    assert frame.shape == (120, 160, 3) and person.found


def test_importing_the_package_loads_nothing_heavy():
    code = "import sys, humar_edge; print(sorted({'numpy', 'cv2', 'openvino', 'torch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
    with pytest.raises(ImportError):
        from humar_edge import Nobody  # type: ignore[attr-defined]  # noqa: F401
