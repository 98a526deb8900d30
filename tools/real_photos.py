"""Try a bundle or checkpoint on photographs that nobody composed, with prompts written by hand.

    python tools/real_photos.py CLONES --failures failures.png

`real_photos.json` lists 137 photographs in public repositories (examples and tests of other projects; their rights
vary, so none is copied here) and 667 prompts with boxes read off by eye, by somebody who had not seen what the network
does; 111 of them fit nobody. CLONES/OWNER/NAME are checkouts of these repositories; `--list` prints their names. The
photographs are for measuring, never for training; none is a COCO picture that the street pack took somebody from.
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
from user_errors import Command

from humar_edge.bundle import default_bundle_path
from humar_edge.data.photometric import coarsen
from humar_edge.evaluation.boxes import box_iou
from humar_edge.evaluation.predictors import open_predictor
from humar_edge.files import write_text

TABLE = Path(__file__).with_suffix(".json")
SIZES = (0.0, 0.02, 0.06, 0.15, 0.3)
"""Shares of the picture that a person's box covers: from each to the next."""
TILE, COLUMNS = 300, 5
GREEN, RED, WHITE = (0, 255, 0), (0, 0, 255), (255, 255, 255)


def read(clones: Path, photo: dict[str, Any]) -> np.ndarray:
    """A photograph in the size that its boxes are given in, uint8 BGR."""
    path = clones / photo["repository"] / photo["path"]
    image = cv2.imread(str(path)) if path.is_file() else None
    if image is None:
        raise click.UsageError(f"{path} is not there or no picture")
    size = (photo["width"], photo["height"])
    return image if image.shape[1::-1] == size else cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def brought_to(image: np.ndarray, pixels: int | None) -> np.ndarray:
    """The same picture as if its longer side had had so many pixels."""
    return image if pixels is None else coarsen(image, min(1.0, pixels / max(image.shape[:2])), cv2.INTER_CUBIC)


def tile(image: np.ndarray, caption: str, meant: list[float], found: np.ndarray) -> np.ndarray:
    """A failure: the person meant in green, the one found in red; uint8 [TILE + 22,TILE,3]."""
    image = image.copy()
    for (left, top, right, bottom), colour in ((meant, GREEN), (found, RED)):
        cv2.rectangle(image, (int(left), int(top)), (int(right), int(bottom)), colour, 3)
    scale = TILE / max(image.shape[:2])
    image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)[:TILE, :TILE]
    canvas = np.zeros((TILE + 22, TILE, 3), np.uint8)
    canvas[22 : 22 + image.shape[0], : image.shape[1]] = image
    cv2.putText(canvas, caption, (2, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.4, WHITE, 1, cv2.LINE_AA)
    return canvas


def sheet(tiles: list[np.ndarray]) -> np.ndarray:
    """All tiles in one picture."""
    tiles = tiles + [np.zeros_like(tiles[0])] * (-len(tiles) % COLUMNS)
    return np.vstack([np.hstack(tiles[k : k + COLUMNS]) for k in range(0, len(tiles), COLUMNS)])


def covers(box: list[float] | None, photo: dict[str, Any]) -> float | None:
    """Share of the picture that a box covers."""
    if box is None:
        return None
    return (box[2] - box[0]) * (box[3] - box[1]) / (photo["width"] * photo["height"])


def summary(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Per kind of prompt, and per size of the person: how many, box Acc@0.5, and the share said to be present;
    "nobody": the share refused."""
    kinds: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        if not row["box"]:
            kinds["nobody"].append(row)
            continue
        size = max(least for least in SIZES if least <= row["covers"])
        for kind in ("all", row["kind"], f"from {size:.2f}"):
            kinds[kind].append(row)
    return {
        kind: {
            "prompts": len(chosen),
            "right": float(np.mean([row["right"] if row["box"] else not row["found"] for row in chosen])),
            "found": float(np.mean([row["found"] for row in chosen])),
        }
        for kind, chosen in sorted(kinds.items())
    }


@click.command(cls=Command)
@click.argument("clones", type=click.Path(path_type=Path, exists=True, file_okay=False), required=False)
@click.option("--model", type=click.Path(path_type=Path), help="Bundle or checkpoint. [default: the embedded bundle]")
@click.option("--threads", default=1, show_default=True)
@click.option("--pixels", type=click.IntRange(min=16), help="Make photographs as coarse as if they had so many.")
@click.option("--failures", type=click.Path(path_type=Path), help="Picture of the wrong choices to write.")
@click.option("--json", "report", type=click.Path(path_type=Path), help="File of all answers to write.")
@click.option("--list", "only_list", is_flag=True, help="Print the repositories and stop.")
def main(
    clones: Path | None,
    model: Path | None,
    threads: int,
    pixels: int | None,
    failures: Path | None,
    report: Path | None,
    only_list: bool,
) -> None:
    """See the top of the file."""
    photos = json.loads(TABLE.read_text(encoding="utf-8"))
    if only_list:
        click.echo("\n".join(sorted({photo["repository"] for photo in photos})))
        return
    if clones is None:
        raise click.UsageError("give the folder of the checkouts; --list prints what belongs there")
    images = [brought_to(read(clones, photo), pixels) for photo in photos]
    predictor = open_predictor(model or default_bundle_path(), threads=threads)
    rows, tiles = [], []
    with click.progressbar(list(zip(photos, images, strict=True)), label="photos") as bar:
        for photo, image in bar:
            for caption, box, kind in photo["prompts"]:
                answer = predictor.predict(image, caption)
                found = np.asarray(answer.box_xyxy, np.float64)
                right = box is not None and box_iou(found, np.array(box, np.float64)) >= 0.5
                row = {"photo": photo["path"], "caption": caption, "kind": kind, "box": box, "answer": found.tolist()}
                row |= {"covers": covers(box, photo), "right": right}
                rows.append(row | {"found": bool(answer.found), "score": float(answer.score)})
                if box is not None and not right:
                    tiles.append(tile(image, f"{caption} {answer.score:.2f}", box, found))
    figures = summary(rows)
    for kind, figure in figures.items():
        click.echo(f"{kind:9} {figure['prompts']:4} right {figure['right']:.3f} found {figure['found']:.3f}")
    if report:
        write_text(report, json.dumps({"summary": figures, "rows": rows}, indent=1))
    if failures and tiles:
        cv2.imwrite(str(failures), sheet(tiles))


if __name__ == "__main__":
    main()
