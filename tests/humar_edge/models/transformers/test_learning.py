"""Every light family learns a tiny data set by heart."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("humar_edge.models.torchvision_guard").guard_torchvision()
for needed in ("timm", "tokenizers", "accelerate"):
    pytest.importorskip(needed)

from light_factory import FAMILIES, Texts, colour_maker, network  # noqa: E402

from humar_edge.models.blocks import cell_centres  # noqa: E402
from humar_edge.models.heads.selection import most_likely  # noqa: E402
from humar_edge.training.batch import collate  # noqa: E402
from humar_edge.training.step import LightStep, build_prompt  # noqa: E402

SIZE, STEPS = 64, 30


@pytest.mark.parametrize("family", FAMILIES)
def test_one_batch_is_learned_in_thirty_steps(family: str, tmp_path) -> None:
    maker = colour_maker(tmp_path / "text", SIZE)
    pointed = colour_maker(tmp_path / "points", SIZE, positional=1.0, points=0.0)
    batch = collate([maker.make(0, 1), pointed.make(1, 1)])
    assert len(batch.pointed) == 2 and batch.present.tolist() == [True, True, False] * 2
    net, texts = network(family), Texts()
    step = LightStep(net, texts, decoded=2).train()
    step.prepare_modes()
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3, betas=(0.9, 0.98))
    # At a constant rate the last step alone can move a choice; which, depends on the rounding of the machine.
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    history = []
    for _ in range(STEPS):
        parts = step(batch)
        optimizer.zero_grad()
        sum(parts.values()).backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimizer.step()
        falling.step()
        history.append({name: value.item() for name, value in parts.items()})

    def total(rows: list[dict[str, float]]) -> float:
        return sum(sum(row.values()) for row in rows) / len(rows)

    assert total(history[-3:]) < 0.5 * total(history[:3])
    assert history[-1]["select"] < 0.8 * history[0]["select"]
    assert history[-1]["propose"] < 0.8 * history[0]["propose"]
    assert history[-1]["box"] < 0.6 * history[0]["box"]
    with torch.no_grad():  # in training mode: thirty steps are too few for the running statistics of the norms
        scene = net.scene(batch.image)
        prompt = build_prompt(net, texts, batch, scene.pyramid)
        selection = net.transformer.select(scene.people.rows(batch.owner), prompt)
    says_present = selection.logits[:, :-1].logsumexp(1) > selection.logits[:, -1]
    assert torch.equal(says_present, batch.present)
    centres = cell_centres(SIZE // 8, SIZE // 8).flatten(1).t()[selection.cells]
    inside = ((centres > batch.box[:, None, :2]) & (centres < batch.box[:, None, 2:])).all(2)[batch.present]
    assert inside[:, :2].any(1).all(), "the first two candidates are the two people"
    chosen = most_likely(selection)[batch.present, None]
    assert inside.gather(1, chosen).all()
