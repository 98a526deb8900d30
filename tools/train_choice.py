"""Train what chooses the person, and nothing else, on candidates that are read off the pictures only once.

    python tools/train_choice.py keep runs/edge-lite/last kept --data street --fillers fillers --imgsz 320
    python tools/train_choice.py train runs/edge-lite/last kept runs/chosen --minutes 30
    humar-edge calibrate --presence --checkpoint runs/chosen/last --data street

The same as `humar-edge train --only-choice`, with four to five times as many prompts a minute: the features of
augmented pictures are kept (300 kB a picture at 320 pixels), so no step runs the backbone; prompts of a picture share
the keys and values of its people instead of copying them; most steps see only the best candidates (`--people`);
bfloat16. For frozen text encoders. `--data` are those of the checkpoint in their order, so that attributes keep their
places. Several processes may share the work of `keep` (`--part 0/2`), and of `train`, where each takes its part of the
pictures, `--batch` of them a step:

    torchrun --nproc_per_node 2 tools/train_choice.py train runs/edge-lite/last kept runs/chosen --batch 8
"""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from rich.console import Console
from torch import Tensor, nn
from torch.nn import functional as F
from user_errors import Group

from humar_edge.combos import resolve
from humar_edge.models.heads.proposals import Candidates, candidates
from humar_edge.models.heads.selection import HEADS, WORDS, WordsOnPeople
from humar_edge.models.network import HumarNet
from humar_edge.models.prompting import Prompt
from humar_edge.models.text import build_text_encoder
from humar_edge.models.transformers.light import PERSON
from humar_edge.training import checkpoint
from humar_edge.training.attributes import attribute_loss, join_tables
from humar_edge.training.average import MovingAverage
from humar_edge.training.batch import collate
from humar_edge.training.build import NOT_CHOOSING, build_network, freeze, quick_math
from humar_edge.training.groups import parameter_groups
from humar_edge.training.loading import Samples
from humar_edge.training.losses import candidate_targets, cell_targets, selection_loss
from humar_edge.training.machine import Accelerator, open_accelerator
from humar_edge.training.recipes import Recipe
from humar_edge.training.samples import SampleMaker, SampleOptions, group_by_image
from humar_edge.training.schedule import schedule
from humar_edge.training.sources import list_pictures, open_indices
from humar_edge.training.step import LightStep
from humar_edge.training.text_cache import TextCache

Kept = dict[str, Any]
"""Of a picture: p3 [C,h,w], cells, boxes, score [K,...], and of its prompts: captions, target [Q,K], present [Q],
attributes [Q,A], points (number of the prompt -> tokens, sentence, heat)."""
CHUNK, SHARD = 8, 1000
LINE_EVERY = 100
EVERY_CANDIDATE = 6
"""One step in so many sees all candidates, as in use."""


def open_checkpoint(path: Path) -> tuple[HumarNet, dict[str, Any]]:
    """The averaged network of a checkpoint, with its head for attributes, and the state."""
    state, weights = checkpoint.read_state(path), checkpoint.read_weights(path)
    combo = resolve(state["combo"], **state["components"])
    attributes = len(weights["attributes.bias"]) if "attributes.bias" in weights else 0
    network = build_network(combo, None, weights["transformer.text.words.0.weight"].shape[1], attributes=attributes)
    network.load_state_dict(weights)
    return network.eval(), state


class SharedWordsOnPeople(WordsOnPeople):
    """The same product for N = B*q prompts, q of each of B pictures in turn, without a copy of keys and values each.

    With one prompt a picture it is that of the base class.
    """

    def forward(self, people: Any, tokens: Tensor, mask: Tensor) -> Tensor:
        """People whose keys and values have B rows, tokens [B*q,T,D], mask [B*q,T] -> [B*q,K,D]."""
        count, words, width = tokens.shape
        pictures = len(people.keys)
        each = count // pictures
        query = self.query(tokens).view(pictures, 1, each * words, HEADS, width // HEADS).transpose(2, 3)
        key, value = (x.unflatten(3, (HEADS, width // HEADS)).transpose(2, 3) for x in (people.keys, people.values))
        share = (query @ key.transpose(3, 4) * (width // HEADS) ** -0.5).softmax(-1)
        seen = (share @ value).transpose(2, 3).flatten(3)
        found = F.relu(self.mix(seen * self.word(tokens).view(pictures, 1, each * words, width)))
        real = (mask != 0).to(found.dtype).view(pictures, 1, each, 1, words)
        found = (real @ found.unflatten(2, (each, words))).squeeze(3)
        total: Tensor = self.out(found * WORDS)
        return total.transpose(1, 2).flatten(0, 1)


@torch.no_grad()
def read(network: HumarNet, samples: list[Any]) -> Iterator[Kept]:
    """What choosing needs of samples."""
    batch = collate(samples)
    pyramid = network.pyramid(batch.image)
    shape = (pyramid.p3.shape[-2], pyramid.p3.shape[-1])
    found = candidates(network.transformer.proposals(pyramid.p3), shape)
    target = torch.zeros(len(batch.captions), found.cells.shape[1])
    at = batch.present
    people = cell_targets(batch.box[at], batch.mask[at], batch.has_mask[at], shape)
    target[at] = candidate_targets(people, found.cells[batch.owner[at]])
    pointed: dict[int, tuple[Tensor, ...]] = {}
    if len(batch.pointed):
        prompt = network.transformer.point_prompt(pyramid.rows(batch.owner[batch.pointed]), batch.points)
        for row, number in enumerate(batch.pointed.tolist()):
            assert prompt.heat is not None
            pointed[number] = tuple(x[row].half() for x in (prompt.tokens, prompt.sentence, prompt.heat))
    for index in range(len(samples)):
        rows = (batch.owner == index).nonzero()[:, 0].tolist()
        yield {
            "p3": pyramid.p3[index].half().contiguous(),
            **{name: value[index].clone() for name, value in found._asdict().items()},
            "captions": [batch.captions[row] for row in rows],
            "target": target[rows],
            "present": at[rows],
            "attributes": batch.attributes[rows],
            "points": {number: pointed[row] for number, row in enumerate(rows) if row in pointed},
        }


@click.group(cls=Group)
def main() -> None:
    """See the top of the file."""


@main.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.argument("output", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), multiple=True, required=True)
@click.option("--fillers", type=click.Path(path_type=Path))
@click.option("--imgsz", default=320, show_default=True)
@click.option("--passes", default=1, show_default=True, help="Over the data, each augmented anew.")
@click.option("--part", default="0/1", show_default=True, help="Of the pictures, for several processes.")
@click.option("--threads", default=1, show_default=True)
def keep(path: Path, output: Path, data: Sequence[Path], fillers: Path | None, **options: Any) -> None:
    """Read augmented pictures once."""
    part, parts = map(int, options["part"].split("/"))
    torch.set_num_threads(options["threads"])
    network, _ = open_checkpoint(path)
    _, entries = join_tables(open_indices(data, "train", Console()))
    sampling = SampleOptions(options["imgsz"], prompts=40, negatives=0.3, positional=1 / 6, augmentation="mild")
    maker = Samples(SampleMaker(group_by_image(entries), sampling, list_pictures(fillers)))
    output.mkdir(parents=True, exist_ok=True)
    for number in range(options["passes"]):
        order = np.random.default_rng([77, number]).permutation(len(maker.maker))[part::parts]
        chunks = [order[k : k + CHUNK] for k in range(0, len(order), CHUNK)]
        shard: list[Kept] = []
        with click.progressbar(chunks, label=f"pass {number}, part {part}") as bar:
            for done, chunk in enumerate(bar, 1):
                shard += read(network, [maker[int(index), 1000 + number][0] for index in chunk])
                if len(shard) >= SHARD or done == len(chunks):
                    torch.save(shard, output / f"{number}-{part}-{done}.pt")
                    shard = []


@dataclass
class Choices:
    """Batches of kept pictures."""

    texts: TextCache
    prompts: int
    rng: np.random.Generator

    def rows(self, chosen: list[tuple[int, Kept, int]], count: int) -> tuple[Tensor, ...]:
        """Owner, present, target and attributes of (row, picture, prompt) triples among `count` candidates."""
        known = nn.utils.rnn.pad_sequence([kept["attributes"][q] for _, kept, q in chosen], True, -1)
        present = torch.stack([kept["present"][q] for _, kept, q in chosen])
        target = torch.stack([kept["target"][q][:count] for _, kept, q in chosen])
        target = target / target.sum(1, keepdim=True).clamp(min=1e-12)
        return torch.tensor([row for row, _, _ in chosen]), present, target[present], known[present]

    def draw(self, pictures: list[Kept], count: int) -> tuple[Any, ...]:
        """Maps, candidates, and which prompts: `prompts` texts of each, and a point or scribble where there is one."""
        maps = torch.stack([kept["p3"] for kept in pictures]).float()
        found = Candidates(*(torch.stack([kept[name][:count] for kept in pictures]) for name in Candidates._fields))
        text = [
            (row, kept, int(q))
            for row, kept in enumerate(pictures)
            for q in np.resize(self.rng.permutation(len(kept["captions"])), self.prompts)
        ]
        points = [
            (row, kept, int(self.rng.choice(list(kept["points"]))))
            for row, kept in enumerate(pictures)
            if kept["points"]
        ]
        return maps, found, text, points


def losses(network: HumarNet, choices: Choices, drawn: tuple[Any, ...], weights: tuple[float, float], dropout: float,
           bfloat16: bool) -> dict[str, Tensor]:  # fmt: skip
    """Parts of the loss of a step."""
    transformer, (maps, found, text, points) = network.transformer, drawn
    count = found.cells.shape[1]
    owner, present, target, known = choices.rows(text, count)
    words, mask, sentence = choices.texts([kept["captions"][q] for _, kept, q in text])
    parts: dict[str, Tensor] = {}
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        people = transformer.people(maps, found)
        people = people._replace(**{n: F.dropout(getattr(people, n), dropout) for n in ("person", "keys", "values")})
        shared = {name: getattr(people, name)[owner] for name in ("cells", "boxes", "person", "relations")}
        selection = transformer.select(people._replace(**shared), transformer.text_prompt(words, mask, sentence))
        logits = None if network.attributes is None else network.attributes(people.person).float()
        if points:
            whose, seen, aim, _ = choices.rows(points, count)
            tokens, whole, heat = (
                torch.stack([kept["points"][q][k].float() for _, kept, q in points]) for k in range(3)
            )
            prompt = Prompt(tokens, torch.ones(tokens.shape[:2], dtype=torch.int64), whole, heat)
            pointed = transformer.select(people.rows(whose), prompt).logits
            parts["points"] = weights[0] * selection_loss(pointed, aim, seen) * len(points) / len(text)
    parts["select"] = weights[0] * selection_loss(selection.logits, target, present)
    if logits is not None:
        parts["attributes"] = weights[1] * attribute_loss(logits, owner[present], target, known)
    return parts


def share_gradients(parameters: list[nn.Parameter], accelerator: Accelerator) -> None:
    """Replace gradients by their means over all processes, in one message.

    The parts of the network are called one by one, so that no DistributedDataParallel could do this.
    """
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    together = accelerator.reduce(torch.cat([gradient.flatten() for gradient in gradients]), "mean")
    for parameter, part in zip(parameters, together.split([p.numel() for p in parameters]), strict=True):
        parameter.grad = part.view_as(parameter)


@main.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.argument("kept", type=click.Path(path_type=Path))
@click.argument("output", type=click.Path(path_type=Path))
@click.option("--minutes", default=30.0, show_default=True)
@click.option("--steps", type=int, help="End of the schedule in steps, if that is earlier.")
@click.option("--rate", default=1e-3, show_default=True)
@click.option("--batch", default=16, show_default=True, help="Pictures a step and process.")
@click.option("--prompts", default=10, show_default=True, help="Texts of each.")
@click.option("--people", default=12, show_default=True, help="Candidates in most steps.")
@click.option("--dropout", default=0.1, show_default=True, help="Of what is seen of people.")
@click.option("--threads", default=1, show_default=True)
@click.option("--seed", default=0, show_default=True, help="Two runs of different seeds have a mean worth taking.")
@click.option("--fp32", is_flag=True, help="No bfloat16.")
@quick_math()
def train(path: Path, kept: Path, output: Path, **options: Any) -> None:
    """Train on what `keep` kept; writes OUTPUT/last and a line of OUTPUT/log.jsonl every 100 steps."""
    accelerator = open_accelerator(device="cpu")
    rank, processes = accelerator.process_index, accelerator.num_processes
    torch.set_num_threads(options["threads"])
    torch.manual_seed(options["seed"])
    network, state = open_checkpoint(path)
    freeze(network, NOT_CHOOSING)
    network.transformer.selection.match.__class__ = SharedWordsOnPeople
    pictures: list[Kept] = []
    for shard in sorted(kept.glob("*.pt")):
        pictures += torch.load(shard, weights_only=True)[rank::processes]
    if not pictures:
        raise click.UsageError(f"{kept} holds nothing; make it with: train_choice.py keep")
    named = pictures[0]["attributes"].shape[1]
    if network.attributes is None and named:  # an unpacked bundle has lost this head
        network.attributes = nn.Linear(PERSON, named)
    encoder = build_text_encoder(state["components"]["text_encoder_type"])
    torch.manual_seed(options["seed"] + 1000 * rank)  # from here on processes differ
    rng = np.random.default_rng(5 + options["seed"] + 1000 * rank)
    choices = Choices(TextCache(encoder, capacity=1_000_000), options["prompts"], rng)
    LightStep(network.train(), choices.texts, None).prepare_modes()
    recipe = Recipe(rate=options["rate"], warmup=50, minutes=options["minutes"])
    optimizer = torch.optim.AdamW(parameter_groups(network, recipe), betas=(0.9, 0.98))
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    output.mkdir(parents=True, exist_ok=True)
    average, begin, step = MovingAverage(network, 0.998), time.monotonic(), 0
    order: list[int] = []
    sums: Counter[str] = Counter()
    seconds, steps = options["minutes"] * 60, options["steps"] or math.inf
    while True:
        own = max((time.monotonic() - begin) / seconds, step / steps)
        if (done := accelerator.reduce(torch.tensor(own), "mean").item()) >= 1:  # all stop at the same step
            break
        for group in optimizer.param_groups:
            group["lr"] = group["base"] * schedule(done, step, recipe)
        if len(order) < options["batch"]:
            order = np.resize(choices.rng.permutation(len(pictures)), max(len(pictures), options["batch"])).tolist()
        chosen = [pictures[order.pop()] for _ in range(options["batch"])]
        count = options["people"] if step % EVERY_CANDIDATE else len(pictures[0]["cells"])
        optimizer.zero_grad(set_to_none=True)
        weights = (3.0, 2.0)
        parts = losses(network, choices, choices.draw(chosen, count), weights, options["dropout"], not options["fp32"])
        torch.stack(list(parts.values())).sum().backward()
        if processes > 1:
            share_gradients(trained, accelerator)
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        average.update(network, step)
        step += 1
        sums.update({name: value.item() for name, value in parts.items()})
        if step % LINE_EVERY == 0:
            means = {name: value / LINE_EVERY for name, value in sums.items()}
            sums.clear()
            if not accelerator.is_main_process:
                continue
            click.echo(f"step {step}, {done:.1%}: " + ", ".join(f"{name} {value:.3f}" for name, value in means.items()))
            with (output / "log.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step, **means, "loss": sum(means.values())}) + "\n")
    if accelerator.is_main_process:
        checkpoint.save(output / "last", network, average.tensors, None, state | {"only_choice_steps": step})


if __name__ == "__main__":
    main()
