"""Naming what people wear: tables of several data sets, the loss, and that training uses it."""

from __future__ import annotations

import json

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("humar_edge.models.torchvision_guard").guard_torchvision()
for needed in ("timm", "tokenizers", "accelerate"):
    pytest.importorskip(needed)

from light_factory import Texts, network  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from humar_edge.data.refhuman import RefHumanIndex  # noqa: E402
from humar_edge.data.synth.scene import SceneConfig  # noqa: E402
from humar_edge.data.synth.writer import DatasetConfig, write_dataset  # noqa: E402
from humar_edge.models.network import HumarNet  # noqa: E402
from humar_edge.training.attributes import RARE, attribute_loss, join_tables  # noqa: E402
from humar_edge.training.batch import collate  # noqa: E402
from humar_edge.training.samples import SampleMaker, SampleOptions, group_by_image  # noqa: E402
from humar_edge.training.step import LightStep  # noqa: E402


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    found = tmp_path_factory.mktemp("people")
    write_dataset(found, DatasetConfig(scenes=4, val_share=0, seed=5, scene=SceneConfig(size=96)))
    return found


def test_loss_is_the_plain_formula():
    torch.manual_seed(0)
    logits, owner = torch.randn(2, 4, 3), torch.tensor([1, 0, 1])
    target = torch.rand(3, 4).softmax(1)
    target[2, 1:] = 0
    known = torch.tensor([[1, 0, -1], [-1, -1, -1], [0, 1, 1]], dtype=torch.int8)
    expected = 0.0
    for person in range(3):
        for name in range(3):
            if (truth := known[person, name].item()) < 0:
                continue
            said = logits[owner[person], :, name]
            losses = F.binary_cross_entropy_with_logits(said, torch.full((4,), float(truth)), reduction="none")
            expected += (RARE if truth else 1.0) * (losses * target[person]).sum().item()
    assert attribute_loss(logits, owner, target, known).item() == pytest.approx(expected / 5, rel=1e-5)


def test_nothing_known_costs_nothing_but_keeps_the_graph():
    logits = torch.randn(1, 4, 3, requires_grad=True)
    for known in (torch.full((1, 3), -1, dtype=torch.int8), torch.zeros((1, 0), dtype=torch.int8)):
        loss = attribute_loss(logits, torch.tensor([0]), torch.full((1, 4), 0.25), known)
        loss.backward()
        assert loss.item() == 0


def test_tables_are_joined_by_name(folder, tmp_path):
    other = tmp_path / "other"
    (other / "images").mkdir(parents=True)
    for picture in (folder / "images").iterdir():
        (other / "images" / picture.name).write_bytes(picture.read_bytes())
    content = json.loads((folder / "RefHuman_train.json").read_text())
    content["attributes"] = ["glasses", "red torso"]
    for annotation in content["annotations"]:
        annotation["attributes"] = "10"
    (other / "RefHuman_train.json").write_text(json.dumps(content))
    first, second = (RefHumanIndex.load(path, "train") for path in (folder, other))
    names, entries = join_tables([first, second])
    assert names == (*first.attributes, "glasses") and len(entries) == len(first) + len(second)
    for before, entry in zip(first, entries):
        assert entry.attributes == (before.attributes + "?" if not entry.absent else "")
    for entry in entries[len(first) :]:
        if not entry.absent:
            known = {name: mark for name, mark in zip(names, entry.attributes) if mark != "?"}
            assert known == {"red torso": "0", "glasses": "1"}


def test_wrong_attributes_are_counted_and_dropped(folder, tmp_path):
    content = json.loads((folder / "RefHuman_train.json").read_text())
    present = [annotation for annotation in content["annotations"] if not annotation.get("absent")]
    present[0]["attributes"], present[1]["attributes"] = "1", "x" * len(content["attributes"])
    (tmp_path / "images").symlink_to(folder / "images")
    (tmp_path / "RefHuman_train.json").write_text(json.dumps(content))
    index = RefHumanIndex.load(tmp_path, "train")
    assert index.repaired["attributes that do not fit their table"] == 2
    assert sum(not entry.absent and not entry.attributes for entry in index) == 2


def test_a_batch_carries_them(folder):
    index = RefHumanIndex.load(folder, "train")
    maker = SampleMaker(group_by_image(index.entries), SampleOptions(size=64, prompts=4))
    batch = collate([maker.make(number, 0) for number in range(2)])
    assert batch.attributes.shape == (len(batch.captions), len(index.attributes))
    assert batch.attributes.dtype == torch.int8 and set(batch.attributes.unique().tolist()) <= {-1, 0, 1}
    assert (batch.attributes[~batch.present] == -1).all() and (batch.attributes[batch.present] == 1).any()


def test_training_names_what_the_person_s_candidates_wear(folder):
    """What describes candidates learns, before any prompt is read."""
    index = RefHumanIndex.load(folder, "train")
    maker = SampleMaker(group_by_image(index.entries), SampleOptions(size=64, prompts=4))
    batch = collate([maker.make(number, 0) for number in range(2)])
    plain = network("fully_conv_optim")
    net = HumarNet(plain.backbone, None, plain.transformer, attributes=len(index.attributes))
    parts = LightStep(net.train(), Texts(), decoded=2, attribute_weight=2.5)(batch)
    parts["attributes"].backward()
    said = (batch.attributes[batch.present] >= 0).any(0)
    assert parts["attributes"] > 0 and torch.equal(net.attributes.weight.grad.any(1), said)
    people, colour = net.transformer.people, net.transformer.colour.project
    described = (people.read[0], people.glance, people.local, people.shape, people.whole[0], people.whole[2], colour)
    assert all(module.weight.grad.any() for module in described)
    assert not [name for name, parameter in net.transformer.selection.named_parameters() if parameter.grad is not None]
