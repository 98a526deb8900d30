"""Evaluation of a real (tiny) bundle, and of a network in PyTorch that does the same."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from refhuman_factory import annotation, image, keypoints_in, nobody, write_split

from humar_edge.cli.val import command
from humar_edge.data.refhuman import RefHumanIndex
from humar_edge.errors import ConfigError, DataError
from humar_edge.evaluation.evaluator import Evaluator
from humar_edge.evaluation.predictors import open_predictor
from humar_edge.evaluation.run import choose_entries, evaluate

pytest.importorskip("faster_coco_eval")
BOXES = {"red": (20, 12, 60, 108), "green": (80, 20, 120, 100)}


@pytest.fixture
def data(tmp_path, colour_scene) -> Path:
    """Two pictures that hold a red and a green rectangle; nobody is blue."""
    from bundle_factory import POSE

    frame = colour_scene((120, 160), BOXES)
    images, annotations, number = [], [], 0
    for name in ("a.png", "b.png"):
        for colour in ("red", "green", "blue"):
            number += 1
            images.append(image(number, f"the person in {colour}", name))
            box = BOXES.get(colour)
            there = annotation(number, box, keypoints=keypoints_in(box, POSE)) if box else nobody(number)
            annotations.append(there)
    return write_split(tmp_path / "data", images, annotations, {"a.png": frame, "b.png": frame})


def test_a_bundle_that_finds_everybody(data, tiny_bundle):
    evaluator = Evaluator()
    with closing(open_predictor(tiny_bundle, "openvino", 1)) as predictor:
        skipped = evaluate(predictor, RefHumanIndex.load(data).entries, evaluator)
    summary = evaluator.summary()
    assert not skipped and summary["entries"] == 6
    assert summary["overall"]["pose"]["AP"] > 0.95 and summary["overall"]["mask"]["oIoU"] > 0.85
    assert summary["overall"]["box_Acc@0.5"] == 1 and summary["presence"]["AUROC"] == 1
    assert summary["latency_ms"]["p50"] > 0


@pytest.mark.parametrize("prompt", ["point", "scribble"])
def test_positional_prompts(data, tiny_bundle, prompt):
    evaluator = Evaluator()
    entries = choose_entries(RefHumanIndex.load(data).entries, prompt)
    with closing(open_predictor(tiny_bundle, "openvino", 1)) as predictor:
        evaluate(predictor, entries, evaluator, prompt)
    assert len(evaluator.outcomes) == 4 and evaluator.summary()["overall"]["box_Acc@0.5"] == 1


def test_masks_count_below_the_threshold(data, tiny_bundle):
    with closing(open_predictor(tiny_bundle, "openvino", 1)) as predictor:
        predictor.threshold = 0.99
        evaluator = Evaluator(threshold=0.99)
        evaluate(predictor, RefHumanIndex.load(data).entries, evaluator)
    assert evaluator.summary()["overall"]["mask"]["oIoU"] > 0.85
    assert evaluator.summary()["presence"]["F1"]["f1"] == 0


def test_broken_pictures_are_counted(data, tiny_bundle):
    (data / "images" / "b.png").write_bytes(b"no picture")
    content = json.loads((data / "RefHuman_val.json").read_text())
    content["images"][0]["width"] = 161
    (data / "RefHuman_val.json").write_text(json.dumps(content))
    steps: list[None] = []
    evaluator = Evaluator()
    with closing(open_predictor(tiny_bundle, "openvino", 1)) as predictor:
        entries = RefHumanIndex.load(data).entries
        skipped = evaluate(predictor, entries, evaluator, on_step=lambda: steps.append(None))
    assert skipped == {"unreadable picture": 3, "picture of another size than annotated": 1}
    assert len(evaluator.outcomes) == 2 and len(steps) == 6


def test_samples_depend_on_the_seed_and_keep_the_order(data):
    entries = RefHumanIndex.load(data).entries
    first = [entry.id for entry in choose_entries(entries, "text", 3, seed=1)]
    assert first == sorted(first) and len(set(first)) == 3
    assert first == [entry.id for entry in choose_entries(entries, "text", 3, seed=1)]
    assert len({tuple(e.id for e in choose_entries(entries, "text", 3, seed=s)) for s in range(9)}) > 1
    assert choose_entries(entries, "text", 99) == entries
    with pytest.raises(DataError, match="scribble"):
        choose_entries([entry for entry in entries if entry.absent], "scribble")


def test_the_command_writes_json_and_a_report(data, tiny_bundle, tmp_path):
    pytest.importorskip("matplotlib")
    out, report = tmp_path / "out.json", tmp_path / "report"
    options = ["--backend", "openvino", "--threads", "1", "--json", str(out), "--report", str(report)]
    result = CliRunner().invoke(command, ["--model", str(tiny_bundle), "--data", str(data), *options])
    assert result.exit_code == 0, result.output
    assert "presence AUROC" in result.output and "oIoU" in result.output
    document = json.loads(out.read_text())
    assert document["setup"]["backend"] == "openvino" and document["overall"]["entries"] == 4
    assert document["skipped"] == {} and document["schema_version"] == 1
    page = (report / "index.html").read_text()
    names = {path.name for path in report.iterdir()}
    assert {"precision_recall.png", "oks.png", "calibration.png", "sheet_0.jpg", "metrics.json"} <= names
    assert all(f'src="{name}"' in page for name in names if name.endswith(("png", "jpg")))
    assert "False alarms" not in page and not any(name.endswith(".tmp") for name in names)


def test_the_command_fails_where_no_entry_can_be_used(data, tiny_bundle, tmp_path):
    for name in ("a.png", "b.png"):
        (data / "images" / name).write_bytes(b"no picture")
    out = tmp_path / "out.json"
    options = ["--backend", "openvino", "--threads", "1", "--json", str(out), "--report", str(tmp_path / "report")]
    result = CliRunner().invoke(command, ["--model", str(tiny_bundle), "--data", str(data), *options])
    assert isinstance(result.exception, DataError)
    assert "none of the 6 entries could be used (6 unreadable picture)" in str(result.exception)
    assert not out.exists() and not (tmp_path / "report").exists()


def test_a_report_escapes_what_it_is_given(data, tiny_bundle, tmp_path):
    pytest.importorskip("matplotlib")
    from humar_edge.evaluation.report import result_document, write_report

    evaluator = Evaluator(keep_masks=True)
    with closing(open_predictor(tiny_bundle, "openvino", 1)) as predictor:
        evaluate(predictor, RefHumanIndex.load(data).entries[:1], evaluator)
    setup = {"model": "<script>", "data": "d", "split": "val"}
    page = write_report(tmp_path / "r", result_document(setup, evaluator, RefHumanIndex.load(data).skipped), evaluator)
    assert "<script>" not in page.read_text()


def test_the_backend_must_fit_the_model(tiny_bundle, tmp_path):
    with pytest.raises(ConfigError, match="is a bundle"):
        open_predictor(tiny_bundle, "torch")
    with pytest.raises(ConfigError, match="no such"):
        open_predictor(tmp_path / "nowhere")
    (tmp_path / "checkpoint").mkdir()
    with pytest.raises(ConfigError, match="export the checkpoint first"):
        open_predictor(tmp_path / "checkpoint", "openvino")


def test_a_network_in_pytorch(data):
    torch = pytest.importorskip("torch")
    from tokenizers import Tokenizer, models, pre_tokenizers

    from humar_edge.evaluation.predictors import TorchPredictor

    words = {word: n for n, word in enumerate(["[PAD]", "[UNK]", "the", "person", "in", "red", "green", "blue"])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()

    class Network(torch.nn.Module):
        """Says that the person is the left half; the score tells whether the caption says "blue"."""

        def __init__(self) -> None:
            super().__init__()
            self.text_encoder = torch.nn.Linear(1, 1)
            self.text_encoder.tokenizer = tokenizer

        def encode_text(self, ids, mask):
            assert ids.shape == mask.shape == (1, 32) and mask.sum() == 4
            return ids[..., None].float(), mask, ids.max(1, keepdim=True).values.float(), None

        def answer(self, image, score):
            assert image.shape == (1, 96, 128, 3) and image.dtype == torch.uint8
            box = torch.tensor([[0.25, 0.5, 0.5, 1.0]])
            keypoints = torch.full((1, 17, 3), 0.25)
            mask = torch.full((1, 24, 32), -5.0)
            mask[..., :16] = 5
            return torch.tensor([score]), box, keypoints, mask

        def forward(self, image, tokens, mask, sentence):
            return self.answer(image, 0.1 if sentence.item() == 7 else 0.8)

        def forward_points(self, image, points):
            assert points.shape == (1, 12, 2)
            return self.answer(image, 0.8)

    predictor = TorchPredictor(Network(), (96, 128))
    for prompt in ("text", "scribble"):
        evaluator = Evaluator()
        evaluate(predictor, choose_entries(RefHumanIndex.load(data).entries, prompt), evaluator, prompt)
        np.testing.assert_allclose(evaluator.outcomes[0].box_xyxy, [0, 0, 80, 120])
        np.testing.assert_allclose(evaluator.outcomes[0].keypoints[:, :2], np.tile([40, 30], (17, 1)))
        assert evaluator.outcomes[0].overlap == (40 * 96, 80 * 120)
    assert predictor.encode("the person in blue") is predictor.encode("the person in blue")
    frame = np.zeros((120, 160, 3), np.uint8)
    assert predictor.predict(frame, "the person in blue").score == pytest.approx(0.1)
