"""Learning curves of several runs side by side, and which person they choose, as Markdown tables.

    python tools/compare_runs.py RUN RUN ... --data DATA --limit 240

Beside the figures of `humar-edge val`, this counts how often the predicted box overlaps the meant person more than
anybody else, on pictures with several people, where guessing is right once in as many times as there are people.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from humar_edge.data.entries import Entry
from humar_edge.data.refhuman import RefHumanIndex, read_image
from humar_edge.evaluation.boxes import box_iou
from humar_edge.evaluation.evaluator import Evaluator
from humar_edge.evaluation.predictors import FramePredictor, open_predictor, predict_entry
from humar_edge.evaluation.run import choose_entries

PROMPTS = ("text", "point", "scribble")


def row(*cells: object) -> str:
    """One line of a table."""
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def head(*cells: object) -> list[str]:
    """The first two lines of a table."""
    return [row(*cells), "|---" * len(cells) + "|"]


def curves(runs: Sequence[Path], points: int) -> list[str]:
    """Mean of loss and its choice of the person over equal parts of the schedule, one column per run."""
    logs = {}
    for run in runs:
        lines = [json.loads(line) for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines()]
        logs[run.name] = [line for line in lines if "loss" in line]
    last = max(line["step"] for lines in logs.values() for line in lines)
    table = head("step up to", *(f"{name}: loss (choice)" for name in logs))
    for part in range(1, points + 1):
        low, high = last * (part - 1) / points, last * part / points
        cells = []
        for lines in logs.values():
            there = [line for line in lines if low < line["step"] <= high]
            loss, choice = (np.mean([line[name] for line in there]) for name in ("loss", "select"))
            cells.append(f"{loss:.2f} ({choice:.2f})")
        table.append(row(round(high), *cells))
    return table


def crowds(entries: Sequence[Entry]) -> dict[Path, np.ndarray]:
    """Boxes xyxy [people,4] of every picture that shows at least two."""
    boxes: dict[Path, set[tuple[float, ...]]] = defaultdict(set)
    for entry in entries:
        if not entry.absent:
            boxes[entry.image_path].add(tuple(entry.box_xyxy.tolist()))
    return {path: np.array(sorted(found)) for path, found in boxes.items() if len(found) > 1}


def measure(
    predictor: FramePredictor, entries: Sequence[Entry], people: dict[Path, np.ndarray], prompt: str
) -> list[str]:
    """Accuracy of the choice, box accuracy at 0.5, mean OKS, mean mask IoU and PCKh, in percent."""
    evaluator, right, asked = Evaluator(), 0, 0
    for entry in entries:
        person = predict_entry(predictor, entry, read_image(entry.image_path), prompt)
        evaluator.update(entry, person)
        if entry.image_path in people:
            others = people[entry.image_path]
            overlaps = np.array([float(box_iou(person.box_xyxy, box)) for box in others])
            meant = np.array([bool((box == entry.box_xyxy).all()) for box in others])
            asked += 1
            right += bool(overlaps.max() > 0 and meant[overlaps.argmax()])
    overall = evaluator.summary()["overall"]
    values = (right / asked, overall["box_Acc@0.5"], overall["mean_oks"], overall["mask"]["mIoU"], overall["PCKh@0.5"])
    return [f"{100 * value:.1f}" for value in values]


def main() -> None:
    """Read the arguments, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="folders of humar-edge train, each with a checkpoint `last`")
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--limit", type=int, default=240)
    parser.add_argument("--points", type=int, default=6, help="rows of the table of curves")
    arguments = parser.parse_args()
    index = RefHumanIndex.load(arguments.data, "val")
    people = crowds(index.entries)
    entries = choose_entries(index.entries, "scribble", arguments.limit)
    chance = np.mean([1 / len(people[entry.image_path]) for entry in entries if entry.image_path in people])
    print(*curves(arguments.runs, arguments.points), "", sep="\n")
    print(
        f"{len(entries)} prompts for people who are there; guessing among the people is right in {100 * chance:.1f} %."
    )
    print("", *head("run", "prompt", "right person", "box Acc@0.5", "OKS", "mask mIoU", "PCKh@0.5"), sep="\n")
    for run in arguments.runs:
        with closing(open_predictor(run / "last", None, 1)) as predictor:
            for prompt in PROMPTS:
                print(row(run.name, prompt, *measure(predictor, entries, people, prompt)), flush=True)


if __name__ == "__main__":
    main()
