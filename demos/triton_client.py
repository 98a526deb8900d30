"""Find a person by words in a picture, on a Triton server that serves a repository of `humar-edge export --triton`.

    pip install 'tritonclient[http]'
    python -m humar_edge.demos.triton_client --image street.jpg --text "the man in red" --model BUNDLE

The server runs the engines; the letterbox, the tokens and the way back to pixels are done here, by the same functions
as in `humar-edge run`. The bundle is needed for its tokenizer and input size.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from humar_edge.bundle import Bundle, default_bundle_path
from humar_edge.errors import BackendError, HumarError, SinkError
from humar_edge.prompts import Tokenizer, clean_text
from humar_edge.results import Person
from humar_edge.runtime.decode import decode_box, decode_keypoints, decode_mask
from humar_edge.runtime.preprocess import Letterbox, prepare, read_image

MODEL = "humar_edge"
OUTPUTS = ("score", "box", "keypoints", "mask")
TRITON_TYPES = {np.dtype(np.uint8): "UINT8", np.dtype(np.int64): "INT64"}


class TritonClient:
    """The ensemble of a server, as a function from a picture and words to a person.

    Args:
        client: A `tritonclient.http.InferenceServerClient`.
        bundle: The bundle that the repository was written from.
        model: Name of the ensemble on the server.
    """

    def __init__(self, client: Any, bundle: Bundle, model: str = MODEL) -> None:
        self._client, self._bundle, self._model = client, bundle, model
        self._tokenizer = Tokenizer(bundle.tokenizer, bundle.manifest.token_length)

    def predict(self, image: np.ndarray, text: str) -> Person:
        """Find the person in a picture, uint8 BGR [H, W, 3].

        Raises:
            BackendError: The server cannot be reached or refuses the request.
            PromptError: The prompt is empty.
        """
        text = clean_text(text)
        prepared = prepare(image, self._bundle.manifest.input_size)
        encoding = self._tokenizer.encode(text)
        arrays = {
            "image": prepared.image,
            "input_ids": encoding.input_ids,
            "attention_mask": encoding.attention_mask,
        }
        return self._person(text, self._infer(arrays), prepared.letterbox)

    def _infer(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        import tritonclient.http as triton
        from tritonclient.utils import InferenceServerException

        inputs = []
        for name, array in arrays.items():
            item = triton.InferInput(name, list(array.shape), TRITON_TYPES[array.dtype])
            item.set_data_from_numpy(array)
            inputs.append(item)
        asked = [triton.InferRequestedOutput(name) for name in OUTPUTS]
        try:
            answer = self._client.infer(self._model, inputs, outputs=asked)
        except (InferenceServerException, OSError) as error:
            raise BackendError(f"the Triton server did not answer: {error}") from error
        return {name: answer.as_numpy(name) for name in OUTPUTS}

    def _person(self, text: str, raw: Mapping[str, np.ndarray], letterbox: Letterbox) -> Person:
        score, box = float(raw["score"].reshape(-1)[0]), decode_box(raw["box"], letterbox)
        return Person(
            text=text,
            found=score >= self._bundle.manifest.thresholds["score"],
            score=score,
            box_xyxy=box,
            keypoints=decode_keypoints(raw["keypoints"], letterbox),
            frame_size=letterbox.source_size,
            mask_source=lambda: decode_mask(raw["mask"], box, letterbox),
        )


def main() -> None:
    """Ask the server about one picture; print the person as JSON, and draw it on request."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", type=Path, required=True)
    parser.add_argument("--text", required=True, help="whom to look for")
    parser.add_argument("--url", default="localhost:8000", help="HOST:PORT of the server's HTTP endpoint")
    parser.add_argument("--model", type=Path, help="bundle (default: the embedded one)")
    parser.add_argument("--output", type=Path, help="picture to write, with the person drawn on it")
    given = parser.parse_args()
    try:
        import tritonclient.http as triton
    except ImportError:
        print("error: tritonclient is not installed; run: pip install 'tritonclient[http]'", file=sys.stderr)
        sys.exit(2)
    try:
        bundle, image = Bundle.load(given.model or default_bundle_path()), read_image(given.image)
        person = TritonClient(triton.InferenceServerClient(given.url), bundle).predict(image, given.text)
        print(json.dumps(person.to_dict(), ensure_ascii=False))
        if given.output is not None:
            _write(given.output, person.plot(image))
    except HumarError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def _write(path: Path, picture: np.ndarray) -> None:
    import cv2

    try:
        path.write_bytes(cv2.imencode(path.suffix or ".png", picture)[1].tobytes())
    except (OSError, cv2.error) as error:
        raise SinkError(f"cannot write {path}: {str(error).splitlines()[0]}") from error


if __name__ == "__main__":
    main()
