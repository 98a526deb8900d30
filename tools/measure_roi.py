"""What `--roi` gains and costs on small people: clips of cut-out people who walk before a panned photo, with the truth.

    python tools/measure_roi.py PACK

PACK holds cutouts.json and backgrounds.json, as for `compose_people.py`; the validation half is used. Every clip runs
both ways in turn, A B, B A. OKS and box IoU are means over all frames, 0 where nobody is found. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Any

import cv2
import numpy as np

from humar_edge.bundle import Bundle, default_bundle_path
from humar_edge.evaluation.oks import oks
from humar_edge.runtime.pipeline import Pipeline
from humar_edge.runtime.predictor import Predictor
from humar_edge.runtime.sources import Frame, Source
from humar_edge.runtime.tracking.follow import iou

SIZE, FRAMES, FPS = (1280, 720), 40, 25.0
PROMPTS = {1: "the person", 2: "the person on the right"}


@dataclass(frozen=True)
class Truth:
    """The person who is meant, in pixels of the frame: keypoints [17, 3], box xyxy, area."""

    keypoints: np.ndarray
    box: np.ndarray
    area: float


@dataclass(frozen=True)
class Cutout:
    """A person: BGR premultiplied with alpha, alpha, keypoints [17, 3]."""

    colour: np.ndarray
    alpha: np.ndarray
    keypoints: np.ndarray

    @classmethod
    def read(cls, pack: Path, record: dict[str, Any]) -> Cutout:
        """The cut-out of a record of cutouts.json."""
        image = cv2.imread(str(pack / record["file"]), cv2.IMREAD_UNCHANGED)
        if image is None or image.shape[2] != 4:
            raise SystemExit(f"{pack / record['file']} is no picture with transparency")
        alpha = image[..., 3:].astype(np.float32) / 255
        return cls(image[..., :3] * alpha, alpha, np.array(record["keypoints"], float).reshape(17, 3))

    def paste(self, frame: np.ndarray, left: float, top: float, height: float) -> Truth:
        """Draw the person into float32 `frame` with that height."""
        scale = height / self.alpha.shape[0]
        # Averaged first, then moved by less than a pixel: a shrinking warp would skip pixels.
        small = (max(round(self.alpha.shape[1] * scale), 1), max(round(height), 1))
        x, y = int(left), int(top)
        move = np.array([[1, 0, left - x], [0, 1, top - y]], float)
        colour, alpha = (
            cv2.warpAffine(cv2.resize(image, small, interpolation=cv2.INTER_AREA), move, (small[0] + 1, small[1] + 1))
            for image in (self.colour, self.alpha)
        )
        patch = frame[y : y + alpha.shape[0], x : x + alpha.shape[1]]
        colour, alpha = (image[: patch.shape[0], : patch.shape[1]] for image in (colour, alpha))
        patch *= 1 - alpha[..., None]
        patch += colour
        rows, columns = np.nonzero(alpha > 0.5)
        box = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]) + np.array([x, y, x, y], float)
        keypoints = self.keypoints.copy()
        keypoints[:, :2] = keypoints[:, :2] * scale + (left, top)
        return Truth(keypoints, box, float(len(rows)))


class Clip(Source):
    """Frames that are there already, so that neither decoding nor drawing is timed."""

    name, fps, size, total = "clip", FPS, SIZE, FRAMES

    def __init__(self, images: list[np.ndarray]) -> None:
        self._images = images

    def frames(self) -> Iterator[Frame]:
        """Yield them."""
        for index, image in enumerate(self._images):
            yield Frame(index, index / FPS, image, self.name)


def make_clip(
    people: list[Cutout], photo: np.ndarray, height: float, rng: np.random.Generator
) -> tuple[list[np.ndarray], list[Truth]]:
    """A clip and the truth of the rightmost person, who comes last in `people`."""
    width = 1.25 * SIZE[0]
    scale = max(width / photo.shape[1], 1.1 * SIZE[1] / photo.shape[0])
    wide = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    room = wide.shape[1] - SIZE[0], wide.shape[0] - SIZE[1]
    pan, path = rng.uniform(0.1, 0.9, 2), rng.uniform(-0.08, 0.08, len(people)) * SIZE[0]
    shares = (np.arange(len(people)) + rng.uniform(0.3, 0.7, len(people))) / len(people)
    base = rng.uniform(max(1.1 * height, 0.5 * SIZE[1]), 0.97 * SIZE[1], len(people))
    grain = rng.normal(0, 2, (SIZE[1] + 16, SIZE[0] + 16, 3)).astype(np.float32)
    images, truths = [], list[Truth]()
    for index in range(FRAMES):
        t = index / (FRAMES - 1)
        x, y = (int(room[0] * (pan[0] * (1 - t) + pan[1] * t)), room[1] // 2)
        frame = wide[y : y + SIZE[1], x : x + SIZE[0]].astype(np.float32)
        for person, share, walk, foot in zip(people, shares, path, base, strict=True):
            tall = height * (1 + 0.04 * np.sin(6 * t))
            left = 0.05 * SIZE[0] + 0.85 * share * SIZE[0] + walk * (t - 0.5)
            truth = person.paste(frame, left, foot - tall + 0.01 * height * np.sin(25 * t), tall)
        down, right = rng.integers(0, 16, 2)
        frame += grain[down : down + SIZE[1], right : right + SIZE[0]]
        images.append(np.clip(frame, 0, 255).astype(np.uint8))
        truths.append(truth)
    return images, truths


def follow(predictor: Predictor, images: list[np.ndarray], truths: list[Truth], text: str, roi: bool) -> dict[str, Any]:
    """One run over a clip."""
    pipeline = Pipeline(Clip(images), predictor, [predictor.encode(text)], smooth=False, region_of_interest=roi)
    started, rows, busy = time.perf_counter(), list[tuple[float, float, bool]](), 0.0
    for result, truth in zip(pipeline, truths, strict=True):
        (person,) = result.persons
        busy += sum(person.timings.values())
        right = (
            (oks(person.keypoints, truth.keypoints, truth.area), iou(person.box_xyxy, truth.box))
            if person.found
            else (0.0, 0.0)
        )
        rows.append((*right, person.found))
    return {
        "oks": fmean(row[0] for row in rows),
        "iou": fmean(row[1] for row in rows),
        "found": fmean(row[2] for row in rows),
        "whole_s": time.perf_counter() - started,
        "stages_s": busy / 1000,
    }


def summary(full: list[dict[str, Any]], roi: list[dict[str, Any]]) -> dict[str, Any]:
    """Means of both ways, and medians over the clips of what one costs in terms of the other."""
    table: dict[str, Any] = {
        key: {"full": round(fmean(r[key] for r in full), 3), "roi": round(fmean(r[key] for r in roi), 3)}
        for key in ("oks", "iou", "found")
    }
    known = [(a, b) for a, b in zip(full, roi, strict=True) if a["iou"] >= 0.5]
    if known:
        table["clips that the full frame follows"] = {
            "clips": len(known),
            **{key: [round(fmean(pair[way][key] for pair in known), 3) for way in (0, 1)] for key in ("oks", "iou")},
        }
    for key, name in (("stages_s", "time of the stages"), ("whole_s", "time from end to end")):
        table[f"{name}, roi / full"] = round(median(b[key] / a[key] for a, b in zip(full, roi, strict=True)), 3)
    return table


def main() -> None:
    """Parse the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pack", type=Path)
    parser.add_argument("--model", type=Path, default=default_bundle_path(), help="bundle (default: the embedded one)")
    parser.add_argument("--backend", help="backend (default: the best available)")
    parser.add_argument("--heights", type=int, nargs="+", default=[90, 140, 220], help="of people, pixels of 720")
    parser.add_argument("--people", type=int, nargs="+", choices=sorted(PROMPTS), default=[1, 2])
    parser.add_argument("--clips", type=int, default=4, help="per height and number of people")
    parser.add_argument("--stills", type=Path, help="existing folder for the first frame of each clip")
    given = parser.parse_args()
    records, photos = (
        json.loads((given.pack / f"{name}.json").read_text("utf-8")) for name in ("cutouts", "backgrounds")
    )
    whole = [r for r in records["cutouts"] if r["split"] == "val" and r["full_body"]]
    wide = [r for r in photos if r["split"] == "val" and r["w"] > r["h"]]
    report = {}
    with Predictor(Bundle.load(given.model), given.backend, threads=1) as predictor:
        for count in given.people:
            for height in given.heights:
                rng = np.random.default_rng(0)  # a row is the same whatever other rows are asked for
                runs: dict[bool, list[dict[str, Any]]] = {False: [], True: []}
                for number in range(given.clips):
                    people = [Cutout.read(given.pack, whole[i]) for i in rng.choice(len(whole), count, replace=False)]
                    photo = cv2.imread(str(given.pack / wide[int(rng.integers(len(wide)))]["file"]))
                    assert photo is not None
                    images, truths = make_clip(people, photo, height, rng)
                    if given.stills:
                        cv2.imwrite(str(given.stills / f"{count}-{height}-{number}.jpg"), images[0])
                    for roi in (False, True) if number % 2 == 0 else (True, False):
                        runs[roi].append(follow(predictor, images, truths, PROMPTS[count], roi))
                report[f"{PROMPTS[count]}, {height} px high"] = summary(runs[False], runs[True])
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
