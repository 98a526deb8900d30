"""The network against the reference vectors of the specification: 852 upstream entries, four kinds of input."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from humar_edge.models.backbones import build_backbone  # noqa: E402
from humar_edge.models.backbones.swin import relative_position_index  # noqa: E402
from humar_edge.models.checkpoints import load_upstream  # noqa: E402
from humar_edge.models.original.batch import pad_batch  # noqa: E402
from humar_edge.models.original.deformable import deform_attn  # noqa: E402
from humar_edge.models.original.masks import to_pixels  # noqa: E402
from humar_edge.models.original.prompts import PointPrompt, TextPrompt  # noqa: E402
from humar_edge.models.original.uniphd import UniPHD  # noqa: E402
from humar_edge.models.text import build_text_encoder  # noqa: E402

pytestmark = pytest.mark.slow
FIXTURES = Path(__file__).resolve().parents[3] / "fixtures" / "uniphd"
HEADS = ("pred_logits", "pred_keypoints", "pred_keypoints_visi", "pred_boxes")


@pytest.fixture(scope="module")
def golden():
    with np.load(FIXTURES / "golden_original_swin_t_minilm.npz") as archive:
        return {name: torch.from_numpy(archive[name]) for name in archive.files}


@pytest.fixture(scope="module")
def state(load_fixture):
    shapes = json.loads((FIXTURES / "manifest_original_swin_t_minilm.json").read_text())
    return {
        name: relative_position_index()
        if name.endswith("relative_position_index")
        else torch.from_numpy(load_fixture.reference_tensor(name, tuple(shape)))
        for name, shape in shapes.items()
    }


@pytest.fixture(scope="module")
def model(state):
    network = UniPHD(build_backbone("swin_T_224_1k"), build_text_encoder("minilm", untrained=True)).eval()
    report = load_upstream(network, state)
    assert (report.loaded, report.aliases) == (768, 84)
    return network


@pytest.fixture(autouse=True)
def no_grad():
    with torch.no_grad():
        yield


def flat_heads(outputs):
    keypoints = outputs["keypoints"].flatten(2)
    placeholder = torch.full((*keypoints.shape[:2], 17), 1.0).sigmoid()
    return {
        "pred_logits": outputs["logits"],
        "pred_keypoints": torch.cat((keypoints, placeholder), -1),
        "pred_keypoints_visi": outputs["visibility"],
        "pred_boxes": outputs["boxes"],
    }


def best_of_both_classes(outputs):
    return outputs["logits"].amax(-1).argmax(1, keepdim=True)


def check_heads(outputs, golden, kind):
    for name, value in flat_heads(outputs).items():
        torch.testing.assert_close(value, golden[f"{kind}/{name}"], atol=1e-4, rtol=0, msg=lambda m: f"{kind} {m}")


@pytest.mark.parametrize("kind", ["text", "scribble", "point"])
def test_single_image(model, golden, kind):
    image = golden["image"]
    points = golden["scribble_xy_pixels"].float()[None]
    prompt = {
        "text": TextPrompt(golden["input_ids"], golden["attention_mask"]),
        "scribble": PointPrompt(points),
        "point": PointPrompt(points[:, 5:6]),
    }[kind]
    canvas, padding, sizes = pad_batch([image[0]])
    outputs = model(canvas, padding, sizes, prompt, select=best_of_both_classes)
    check_heads(outputs, golden, kind)
    assert outputs["mask_queries"].item() == golden[f"{kind}/best_query"].item()
    torch.testing.assert_close(outputs["masks"][0, 0], golden[f"{kind}/best_mask_logits"], atol=1e-3, rtol=1e-5)


def test_padded_batch(model, golden):
    canvas, padding, sizes = pad_batch([golden["image"][0], golden["image2"]])
    ids, mask = golden["input_ids"].repeat(2, 1), golden["attention_mask"].repeat(2, 1)
    outputs = model(canvas, padding, sizes, TextPrompt(ids, mask))
    check_heads(outputs, golden, "padded")


def test_intermediate_results(model, golden):
    maps = model.backbone(golden["image"])
    for index, level in enumerate(maps):
        torch.testing.assert_close(level[:, ::8], golden[f"text/backbone_{index}"], atol=1e-4, rtol=0)
    words, sentence = model.text_encoder(golden["input_ids"], golden["attention_mask"])
    torch.testing.assert_close(words, golden["text/word_features"], atol=1e-4, rtol=0)
    torch.testing.assert_close(sentence, golden["text/sentence_features"], atol=1e-4, rtol=0)
    prompts = model.transformer.prompts
    features = prompts.from_text(*_project(prompts, words, sentence, golden["attention_mask"]))
    decoded = model.transformer.decode(maps, None, features)
    for index, level in enumerate(decoded.fused):
        torch.testing.assert_close(level[:, ::8], golden[f"text/fused_{index}"], atol=1e-4, rtol=0)
    torch.testing.assert_close(decoded.memory[..., ::8], golden["text/memory"], atol=1e-4, rtol=0)


def _project(prompts, words, sentence, mask):
    tokens, vector = prompts.project_text(words, sentence)
    return tokens, mask, vector


@pytest.mark.parametrize("strategy", ["gather", "gridsample", "plugin"])
def test_engines_agree_with_the_network(model, golden, strategy):
    image = golden["image"]
    canvas, padding, sizes = pad_batch([image[0]])
    outputs = model(canvas, padding, sizes, TextPrompt(golden["input_ids"], golden["attention_mask"]))
    best = outputs["mask_queries"].item()
    with deform_attn(strategy):
        tokens, sentence = model.encode_text(golden["input_ids"], golden["attention_mask"])
        person = model.vision(image, tokens, golden["attention_mask"], sentence)
        full = model.vision(image, tokens, golden["attention_mask"], sentence, full_resolution=True)
    torch.testing.assert_close(person.score, outputs["logits"][:, best, 1].sigmoid(), atol=1e-5, rtol=0)
    torch.testing.assert_close(person.box, outputs["boxes"][:, best], atol=1e-4, rtol=0)
    torch.testing.assert_close(person.keypoints[..., :2], outputs["keypoints"][:, best], atol=1e-4, rtol=0)
    torch.testing.assert_close(full.mask, outputs["masks"][:, 0], atol=3e-3, rtol=1e-5)
    assert person.mask.shape == (1, 40, 56)
    pooled = torch.nn.functional.avg_pool2d(full.mask, 4)
    torch.testing.assert_close(person.mask, pooled, atol=1e-3, rtol=1e-5)


def test_positional_engine_takes_a_repeated_click(model, golden):
    image = golden["image"]
    canvas, padding, sizes = pad_batch([image[0]])
    click = golden["scribble_xy_pixels"].float()[None, 5:6]
    outputs = model(canvas, padding, sizes, PointPrompt(click))
    best = outputs["mask_queries"].item()
    person = model.positional(image, (click / torch.tensor([224.0, 160.0])).repeat(1, 12, 1), full_resolution=True)
    torch.testing.assert_close(person.box, outputs["boxes"][:, best], atol=1e-4, rtol=0)
    torch.testing.assert_close(person.mask, outputs["masks"][:, 0], atol=1e-3, rtol=1e-5)


def test_masks_do_not_depend_on_the_other_chosen_queries(model, golden):
    canvas, padding, sizes = pad_batch([golden["image"][0]])
    prompt = TextPrompt(golden["input_ids"], golden["attention_mask"])
    several = model(canvas, padding, sizes, prompt, select=lambda _: torch.tensor([[3, 0]]))["masks"]
    single = model(canvas, padding, sizes, prompt, select=lambda _: torch.tensor([[0]]))["masks"]
    torch.testing.assert_close(several[:, 1:], single, atol=1e-3, rtol=1e-5)
    assert to_pixels(torch.zeros(1, 2, 16, 3, 5)).shape == (1, 2, 12, 20)
