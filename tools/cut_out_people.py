"""Add the people of a street pack's pose-only photos (`lsp/`) to its cut-outs: other people, other poses, other light.

    python tools/cut_out_people.py PACK --output sport
    python tools/compose_people.py sport --out street_sport --train 6000 --men 0.4 --negatives 0.3 --captions 3

OUTPUT is a pack of its own: the cut-outs, backgrounds and composer of PACK by link, and one cut-out more for each
photo that is not held out, if the person's outline can be trusted: the mask of a bundle, refined by GrabCut between
what is surely the person (annotated limbs) and surely not, must contain the annotated joints and keep most of the
bundle's mask. What they look like is told by `sport_people.csv`, a table made by eye; of those it does not list,
captions speak only of colours that the pack is sure of.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
from compose_people import HAIR, HEADWEAR
from lsp_to_refhuman import is_held_out, read_photos
from user_errors import Command

from humar_edge import HumarEdge
from humar_edge.files import write_text
from humar_edge.keypoints import NAMES

LIMBS = [
    (f"{side}_{a}", f"{side}_{b}")
    for side in ("left", "right")
    for a, b in (("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle"), ("shoulder", "hip"))
]
LEAST_HEIGHT = 90
LEAST_OVERLAP = 0.72
"""Of the refined mask with the bundle's."""
MOST_MISSED = 2
"""Joints outside the mask."""
SURE, SPOKEN = 0.6, 0.7
NOTHING = {"color": None, "conf": 0.0, "color2": None}
SKIN = ("beige", "brown", "orange", "pink")
"""Names that bare skin gets."""
NOSE = NAMES.index("nose")
LABELS = Path(__file__).with_name("sport_people.csv")
LABELLED = 0.8
"""Confidence in a colour that somebody saw."""
TOPS = {
    "shirt": ("shirt", "upper"),
    "jacket": ("jacket", "outer"),
    "dress": ("dress", "whole"),
    "suit": ("outfit", "whole"),
}
"""Words of the table -> name and part of a garment in the pack's words."""
SHARES = {"upper": 0.3, "outer": 0.3, "lower": 0.2, "whole": 0.5, "hat": 0.03}
"""Usual shares of a cut-out."""
LAB = {
    "black": (15, 0, 0), "white": (92, 0, 2), "gray": (55, 0, 0), "beige": (76, 4, 18), "brown": (36, 12, 20),
    "navy": (20, 4, -18), "red": (45, 58, 38), "orange": (64, 42, 62), "yellow": (80, 2, 68), "green": (48, -36, 28),
    "blue": (46, 2, -46), "purple": (42, 36, -36), "pink": (70, 42, 0),
}  # fmt: skip


def _at(photo: dict[str, Any], name: str) -> np.ndarray | None:
    """A joint, x and y in pixels, or None."""
    x, y, v = photo["keypoints"][3 * NAMES.index(name) :][:3]
    return np.array([x, y]) if v else None


def _capsules(photo: dict[str, Any], pairs: list[tuple[str, str]], width: float) -> np.ndarray:
    """Thick lines between joints, bool [h, w]; `width` in shares of the torso's length."""
    shoulder, hip = _at(photo, "left_shoulder"), _at(photo, "left_hip")
    torso = 40.0 if shoulder is None or hip is None else float(np.linalg.norm(shoulder - hip))
    canvas = np.zeros((photo["h"], photo["w"]), np.uint8)
    for first, second in pairs:
        a, b = _at(photo, first), _at(photo, second)
        if a is not None and b is not None:
            cv2.line(canvas, a.round().astype(int).tolist(), b.round().astype(int).tolist(), 1,
                     max(1, round(width * torso)))  # fmt: skip
    return canvas > 0


def outline(photo: dict[str, Any], image: np.ndarray, coarse: np.ndarray) -> np.ndarray | None:
    """The person's pixels, bool [h, w], or None where they are doubtful; `coarse` is the bundle's mask."""
    limbs = _capsules(photo, LIMBS, 0.08)
    band = max(3, photo["h"] // 40) | 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * band + 1, 2 * band + 1))
    labels = np.full(coarse.shape, cv2.GC_BGD, np.uint8)
    labels[cv2.dilate((coarse | limbs).astype(np.uint8), kernel) > 0] = cv2.GC_PR_BGD
    labels[coarse] = cv2.GC_PR_FGD
    labels[cv2.erode(coarse.astype(np.uint8), kernel, borderValue=1) > 0] = cv2.GC_FGD
    labels[limbs] = cv2.GC_FGD
    if not (labels == cv2.GC_BGD).any():
        return None
    cv2.grabCut(image, labels, None, np.zeros((1, 65)), np.zeros((1, 65)), 4, cv2.GC_INIT_WITH_MASK)
    _, parts, stats, _ = cv2.connectedComponentsWithStats(np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8))
    mask = parts == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    overlap = (mask & coarse).sum() / (mask | coarse).sum()
    joints = np.array(photo["keypoints"]).reshape(17, 3)
    x, y = joints[joints[:, 2] > 0, :2].round().astype(int).T
    inside = cv2.dilate(mask.astype(np.uint8), np.ones((5, 5)))[y.clip(0, photo["h"] - 1), x.clip(0, photo["w"] - 1)]
    return mask if overlap >= LEAST_OVERLAP and (inside == 0).sum() <= MOST_MISSED else None


def _colour(image: np.ndarray, region: np.ndarray) -> list[int]:
    """Median CIELAB of a region."""
    lab = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_BGR2LAB)
    return np.median(lab[region], axis=0).round().astype(int).tolist() if region.any() else [50, 0, 0]


def garments(photo: dict[str, Any], image: np.ndarray, mask: np.ndarray) -> list[dict[str, Any]]:
    """What the person wears above and below, in the pack's words."""
    sides = ("left", "right")
    arms = _colour(image, mask & _capsules(photo, [(f"{s}_elbow", f"{s}_wrist") for s in sides], 0.1))
    shins = _colour(image, mask & _capsules(photo, [(f"{s}_knee", f"{s}_ankle") for s in sides], 0.1))
    regions = {
        "upper": mask & _capsules(photo, [(f"{s}_shoulder", f"{s}_hip") for s in sides], 0.4),
        "lower": mask & _capsules(photo, [(f"{s}_hip", f"{s}_knee") for s in sides], 0.25),
    }
    found = []
    for part, region in regions.items():
        named, lab = photo[part] or NOTHING, _colour(image, region)
        below = float(np.linalg.norm(np.subtract(lab, shins)))
        bare = named["color"] in SKIN and np.linalg.norm(np.subtract(lab, arms)) < 18
        doubtful = bare or named["conf"] < SPOKEN or (part == "lower" and 12 < below < 25)
        name = "shirt" if part == "upper" else "shorts" if below > 18 else "pants"
        colour = None if bare else named["color"]
        found.append(
            {
                "name": name,
                "part": part,
                "area": round(float(region.sum() / mask.sum()), 3),
                "color": colour,
                "conf": min(named["conf"], SURE - 0.01) if doubtful else named["conf"],
                "color2": named["color2"],
                "share2": 0,
                "lab": lab,
            }
        )
    return found


def read_labels(path: Path = LABELS) -> dict[str, dict[str, str]]:
    """The table made by eye, by the photo's name; "?" is what could not be told, "" what is not worn."""
    with path.open(encoding="utf-8", newline="") as file:
        return {row["id"]: row for row in csv.DictReader(file)}


def _garment(name: str, part: str, colour: str, second: str = "") -> dict[str, Any]:
    """One thing that somebody saw."""
    known = colour in LAB
    return {
        "name": name,
        "part": part,
        "area": SHARES[part],
        "color": colour if known else None,
        "conf": LABELLED if known else 0.0,
        "color2": second if second in LAB else None,
        "share2": 0.35 if second in LAB else 0,
        "lab": list(LAB.get(colour, (50, 0, 0))),
    }


def apply_labels(record: dict[str, Any], label: dict[str, str]) -> dict[str, Any]:
    """A cut-out's record with what somebody saw in place of what was measured.

    Nothing that sits on a head or grows there is told where the head is out of sight.
    """
    worn = []
    if label["top"] in TOPS:
        worn.append(_garment(*TOPS[label["top"]], label["topcolour"], label["topcolour2"]))
    if label["lower"] in ("pants", "shorts", "skirt"):
        worn.append(_garment(label["lower"], "lower", label["lowercolour"]))
    if label["head"] in HEADWEAR:
        worn.append(_garment(label["head"], "hat", label["headcolour"]))
    gender = label["gender"] if label["gender"] != "?" else None
    seen, hair = label["head"] != "?", label["hair"]
    keypoints = list(record["keypoints"])
    if not seen:
        keypoints[3 * NOSE : 3 * NOSE + 3] = [0.0, 0.0, 0.0]
    return record | {
        "garments": worn,
        "hat": label["head"] in HEADWEAR,
        "gender": gender,
        "child": gender in ("boy", "girl"),
        "facing": label["view"] if label["view"] != "?" else None,
        **{name: label[name] for name in ("top", "action", "object")},
        "hair": {"color": hair, "conf": LABELLED, "lab": list(LAB.get(hair, (60, 8, 30)))} if hair in HAIR else None,
        "glasses": label["glasses"] if label["glasses"] in ("glasses", "sunglasses") else None,
        "keypoints": keypoints,
        "num_keypoints": sum(v > 0 for v in keypoints[2::3]),
        "attrs": "reviewed",
    }


def add_nose(photo: dict[str, Any], nose: np.ndarray) -> dict[str, Any]:
    """The photo with a nose [2] that a bundle saw, if it lies in the annotated head.

    Whether a face is seen decides what may be said of it.
    """
    if photo["neck"] is None or photo["head_top"] is None:
        return photo
    neck, top = np.array(photo["neck"]), np.array(photo["head_top"])
    if np.linalg.norm(nose - (neck + top) / 2) > 0.6 * np.linalg.norm(top - neck):
        return photo
    keypoints = list(photo["keypoints"])
    keypoints[3 * NOSE : 3 * NOSE + 3] = [*nose.tolist(), 2]
    return photo | {"keypoints": keypoints}


def cut_out(photo: dict[str, Any], image: np.ndarray, mask: np.ndarray, path: Path) -> dict[str, Any] | None:
    """Write a cut-out and describe it as the pack's `cutouts.json` does; None for people who lie or are too small."""
    ys, xs = mask.nonzero()
    left, top, right, bottom = xs.min(), ys.min(), xs.max() + 1, ys.max() + 1
    if bottom - top < max(LEAST_HEIGHT, right - left):
        return None
    alpha = (cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 0.7) * 255).round().astype(np.uint8)
    cv2.imwrite(str(path), np.dstack([image, alpha])[top:bottom, left:right], [cv2.IMWRITE_WEBP_QUALITY, 90])
    joints = np.array(photo["keypoints"]).reshape(17, 3)
    joints[joints[:, 2] > 0, :2] -= (left, top)
    return {
        "id": path.stem, "file": f"sport/{path.name}", "source": "lsp", "hair": None,
        "w": int(right - left), "h": int(bottom - top), "bag": False, "hat": False, "glasses": None, "beard": None,
        "keypoints": joints.round(1).reshape(-1).tolist(), "num_keypoints": int((joints[:, 2] > 0).sum()),
        "kp": "human", "gender": None, "facing": None, "garments": garments(photo, image, mask), "bag_polygons": [],
        "split": "train", "attrs": "auto",
        "full_body": bool((joints[15:, 2] > 0).all() and bottom < photo["h"] - 2),
    }  # fmt: skip


@click.command(cls=Command)
@click.argument("pack", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--output", type=click.Path(path_type=Path), required=True, help="Folder of the larger pack.")
@click.option("--model", type=click.Path(path_type=Path), help="Bundle for the masks. [default: the embedded one]")
def main(pack: Path, output: Path, model: Path | None) -> None:
    """See the top of the file."""
    photos = [photo for photo in read_photos(pack) if not is_held_out(photo)]
    if not (pack / "cutouts.json").is_file():
        raise click.UsageError(f"{pack} holds no cutouts.json; give the folder of the pack")
    (output / "sport").mkdir(parents=True, exist_ok=True)
    for name in ("cutouts", "backgrounds", "backgrounds.json", "compose.py"):
        if not (output / name).exists():
            (output / name).symlink_to((pack / name).resolve())
    content = json.loads((pack / "cutouts.json").read_text())
    labels = read_labels()
    fates: Counter[str] = Counter()
    humar = HumarEdge(model, score_threshold=0.0)
    with click.progressbar(photos, label="photos") as bar:
        for photo in bar:
            image = cv2.imread(str(pack / photo["file"]))
            x, y, w, h = photo["bbox"]
            found = humar.predict(image, box=[x, y, x + w, y + h])
            mask = outline(photo, image, found.mask)
            record = None
            if mask is not None:
                record = cut_out(
                    add_nose(photo, found.keypoints[NOSE, :2]),
                    image,
                    mask,
                    output / "sport" / f"{Path(photo['file']).stem}.webp",
                )
            label = labels.get(record["id"]) if record else None
            if record and label:
                record = apply_labels(record, label) if label["quality"] != "bad" else None
            fate = (
                "outline in doubt" if mask is None else "lying, small or labelled bad" if record is None else "cut out"
            )
            fates[fate] += 1
            content["cutouts"] += [record] if record else []
    write_text(output / "cutouts.json", json.dumps(content))
    click.echo(", ".join(f"{name}: {count}" for name, count in fates.items()))


if __name__ == "__main__":
    main()
