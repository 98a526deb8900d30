"""The client's own part: what it sends, and what it makes of an answer. The "server" runs the bundle's engines here."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("tritonclient.http", reason="tritonclient[http] is not installed")

from humar_edge.bundle import Bundle
from humar_edge.demos.triton_client import TritonClient
from humar_edge.errors import BackendError
from humar_edge.runtime.predictor import Predictor
from humar_edge.runtime.runners import open_runner


class Ensemble:
    """Takes real `InferInput` objects apart and runs text and vision as the ensemble's steps do."""

    def __init__(self, bundle: Bundle) -> None:
        self._text = open_runner(bundle.text_engine, "onnxruntime", 1)
        self._vision = open_runner(bundle.vision_engine, "onnxruntime", 1)

    def infer(self, model, inputs, outputs):
        types = {"UINT8": np.uint8, "INT64": np.int64}
        given = {
            item.name(): np.frombuffer(item._get_binary_data(), types[item.datatype()]).reshape(item.shape())
            for item in inputs
        }
        assert model == "humar_edge" and set(given) == {"image", "input_ids", "attention_mask"}
        mask = given["attention_mask"]
        words = self._text.infer({"input_ids": given["input_ids"], "attention_mask": mask})
        found = self._vision.infer({"image": given["image"], "text_mask": mask, **words})

        class Answer:
            def as_numpy(self, name):
                return found[name]

        return Answer()


def test_the_client_answers_like_the_predictor(tiny_bundle, colour_scene):
    bundle = Bundle.load(tiny_bundle)
    frame = colour_scene((120, 160), {"red": (60, 30, 110, 90)})
    client = TritonClient(Ensemble(bundle), bundle)
    with Predictor(bundle, "onnxruntime", threads=1) as predictor:
        for text in ("the person in red", "blue"):
            expected = predictor.predict(frame, text)
            assert client.predict(frame, text).to_dict(mask=True) == expected.to_dict(mask=True)


def test_no_server(tiny_bundle, colour_scene):
    import tritonclient.http as triton

    client = TritonClient(triton.InferenceServerClient("127.0.0.1:9"), Bundle.load(tiny_bundle))
    with pytest.raises(BackendError, match="did not answer"):
        client.predict(colour_scene((40, 40), {}), "red")
