"""A picture of any shape through the exported engines gives what the network gives, the letterbox undone by hand."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
torch = pytest.importorskip("torch")
pytest.importorskip("humar_edge.models.torchvision_guard").guard_torchvision()
for needed in ("onnxruntime", "onnxsim", "openvino", "timm", "transformers"):
    pytest.importorskip(needed)

from light_factory import SMALL  # noqa: E402

from humar_edge.combos import Combo  # noqa: E402
from humar_edge.export.engines import CAPTIONS, engines, text_engine  # noqa: E402
from humar_edge.export.packing import export_fp32, pack  # noqa: E402
from humar_edge.export.source import open_source  # noqa: E402
from humar_edge.models.network import MEAN, STD  # noqa: E402
from humar_edge.prompts import PositionalPrompt  # noqa: E402
from humar_edge.runtime.predictor import Predictor  # noqa: E402

pytestmark = pytest.mark.slow
CANVAS = (64, 96)
FAMILIES = SMALL | {"original": {"encoder_layers": 1, "decoder_layers": 2, "hidden": 64, "queries": 4}}
SHAPES = [(64, 96), (150, 150), (40, 200), (301, 97)]
"""The canvas itself, a square, and pictures that leave most of the canvas empty below and to the right."""


@pytest.fixture(scope="module", params=FAMILIES)
def network_and_bundle(request, tmp_path_factory):
    combo = Combo(request.param, "tite", "mobilevit_xxs", best_for="", overrides=FAMILIES[request.param])
    name = "original-light" if request.param == "original" else "ultra-light"
    source = open_source(name, combo, None, untrained=True, input_size=CANVAS)
    exported = export_fp32(engines(source, ("text", "point")), 17, "gather", lambda line: None)
    return source, pack(replace(source, trained=True), exported, tmp_path_factory.mktemp("bundles") / request.param)


def picture(height, width):
    """Smooth coloured blobs, BGR."""
    coarse = np.random.default_rng(height).integers(0, 256, (6, 7, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def by_hand(source, frame, points=None):
    """Score, keypoints in pixels of the frame and mask logits at its size; no code of the runtime."""
    height, width = frame.shape[:2]
    scale = min(CANVAS[0] / height, CANVAS[1] / width)
    inner_h, inner_w = round(height * scale), round(width * scale)
    method = cv2.INTER_AREA if scale < 0.5 else cv2.INTER_LINEAR
    canvas = np.full((*CANVAS, 3), 114, np.uint8)
    canvas[:inner_h, :inner_w] = cv2.resize(frame, (inner_w, inner_h), interpolation=method)[..., ::-1]
    image = torch.from_numpy(canvas)[None]
    network, encode = source.network, text_engine(source)
    if source.original:
        image = (image.permute(0, 3, 1, 2) / 255 - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    pixels = torch.tensor([width / inner_w * CANVAS[1], height / inner_h * CANVAS[0]])
    with torch.no_grad():
        if points is None:
            ids = encode.samples[0]
            tokens, sentence = encode.module(*ids.values())
            found = (network.vision if source.original else network)(image, tokens, ids["attention_mask"], sentence)
        else:
            on_canvas = torch.from_numpy(points)[None] / pixels
            found = (network.positional if source.original else network.forward_points)(image, on_canvas.float())
    logits = read(found[3][0].numpy().astype(np.float64), (inner_h, inner_w), (height, width))
    return float(found[0]), (found[2][0, :, :2] * pixels).numpy(), logits


def read(grid, inner, size):
    """Mask logits at the centres of a frame's pixels: bilinear between the cells of 4x4 canvas pixels that hold it."""
    (above, below, down), (left, right, across) = (
        between(scaled, whole, -(-scaled // 4)) for scaled, whole in zip(inner, size, strict=True)
    )
    rows = grid[above] * (1 - down)[:, None] + grid[below] * down[:, None]
    return rows[:, left] * (1 - across) + rows[:, right] * across


def between(scaled, whole, cells):
    """Along one side: the two cells next to each pixel's centre, and the share of the second."""
    place = ((np.arange(whole) + 0.5) * scaled / whole / 4 - 0.5).clip(0, cells - 1)
    first = np.minimum(place.astype(int), max(cells - 2, 0))
    return first, np.minimum(first + 1, cells - 1), place - first


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_score_keypoints_and_mask_are_the_networks(network_and_bundle, backend):
    source, bundle = network_and_bundle
    halved: list[bool] = []
    with Predictor(bundle, backend, threads=1, score_threshold=0.0) as predictor:
        for height, width in SHAPES:
            frame = picture(height, width)
            stroke = np.linspace((0.2 * width, 0.3 * height), (0.5 * width, 0.6 * height), 12)
            place = PositionalPrompt("scribble", stroke.astype(np.float32))
            for prompt, points in ((CAPTIONS[0], None), (place, stroke)):
                score, keypoints, logits = by_hand(source, frame, points)
                prepared = predictor.preprocess(frame)
                encoded = predictor.encode(prompt) if isinstance(prompt, str) else prompt
                raw = predictor.infer(prepared, encoded)
                # With random weights the box may lie beside the picture and the mask have one sign: the mask is decoded
                # in the whole picture, about the middle of its values.
                middle = (logits.min() + logits.max()) / 2
                everywhere = {"mask": raw["mask"] - middle, "box": np.array([[0.5, 0.5, 1, 1]])}
                person = predictor.postprocess({**raw, **everywhere}, prepared, encoded)
                assert person.score == pytest.approx(score, abs=1e-4)
                # 1e-3 of the canvas, as in the parity of an export, in pixels of the frame
                limit = 1e-3 * max(CANVAS) * max(height / CANVAS[0], width / CANVAS[1])
                np.testing.assert_allclose(person.keypoints[:, :2], keypoints, atol=limit)
                # OpenCV's bilinear shares are multiples of 1/32: a few edges may differ
                doubtful = np.abs(logits - middle) < 1e-2
                assert ((person.mask == (logits > middle)) | doubtful).mean() > 0.99
                halved.append(not doubtful.all() and 0 < person.mask.mean() < 1)
    assert any(halved)
