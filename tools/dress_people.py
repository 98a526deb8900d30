"""Give the training people of a street pack other bags, hats and glasses, so that these are not learned by the person.

    python tools/dress_people.py PACK --output dressed
    python tools/compose_people.py dressed --out street_dressed --train 6000 --men 0.4 --negatives 0.3 --captions 3

With 859 people a network learns who carries a bag instead of what a bag looks like. OUTPUT is a pack of its own: that
of PACK by link, and of every person to train on further cut-outs that differ in what is small: a bag of somebody else
in the same place of the body, their own bag in another colour, the hat of somebody else, drawn glasses or sunglasses.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
from user_errors import Command

from humar_edge.data.synth.writer import polygons
from humar_edge.files import write_text

Record = dict[str, Any]
CHANCES = {"bag": 0.6, "dye": 0.6, "hat": 0.3, "glasses": 0.45}
"""How often a cut-out gets each, where it can."""
LEFT_EYE, RIGHT_EYE, LEFT_EAR, RIGHT_EAR = 1, 2, 3, 4
SHOULDERS, HIPS = (5, 6), (11, 12)
DYES = {
    "red": (45, 58, 38), "yellow": (80, 2, 68), "green": (48, -36, 28), "blue": (46, 2, -46), "pink": (70, 42, 0),
    "white": (90, 0, 3), "black": (14, 0, 0), "brown": (36, 14, 22), "beige": (76, 4, 18), "orange": (64, 42, 62),
}  # fmt: skip
"""Colours of bags, CIELAB."""
LENSES = {"sunglasses": ((12, 12, 14), 0.93), "glasses": ((200, 200, 200), 0.12)}
"""BGR and opacity."""


def _joints(record: Record) -> np.ndarray:
    return np.array(record["keypoints"], np.float32).reshape(17, 3)


def _torso(record: Record) -> np.ndarray | None:
    """Middle of shoulders and of hips, float32 [2,2], or None."""
    joints = _joints(record)
    if not (joints[[*SHOULDERS, *HIPS], 2] > 0).all():
        return None
    return np.stack([joints[list(pair), :2].mean(0) for pair in (SHOULDERS, HIPS)])


def _eyes(record: Record) -> np.ndarray | None:
    """Both eyes of a face that looks this way, float32 [2,2], or None."""
    joints = _joints(record)
    eyes = joints[[RIGHT_EYE, LEFT_EYE], :2]
    across = eyes[1] - eyes[0]
    frontal = (joints[:3, 2] == 2).all() and across[0] > 0.022 * record["h"] and abs(across[1]) < 0.5 * across[0]
    return eyes if frontal else None


def _similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The similarity [2,3] that takes two points to two others."""
    (a, b), (c, d) = (points[:, 0] + 1j * points[:, 1] for points in (source, target))
    turn = (d - c) / (b - a)
    shift = c - turn * a
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]], np.float64)


def _fill(outlines: list[list[float]], shape: tuple[int, ...]) -> np.ndarray:
    """Polygons [[x, y, ...]] as a uint8 mask.

    They run through the middle of the outermost pixels, which belong to the mask; `data.masks` would halve these.
    """
    canvas = np.zeros(shape[:2], np.uint8)
    for polygon in outlines:
        cv2.fillPoly(canvas, [np.array(polygon, np.int32).reshape(-1, 2)], 1)
    return canvas


def _shift(record: Record, x: int, y: int) -> None:
    """Move all that a record says of places."""
    joints = _joints(record)
    joints[joints[:, 2] > 0, :2] += (x, y)
    record["keypoints"] = joints.round(1).reshape(-1).tolist()
    for outlines in [record["bag_polygons"], *(garment.get("polygons") or [] for garment in record["garments"])]:
        outlines[:] = [(np.reshape(item, (-1, 2)) + np.array([x, y])).ravel().astype(int).tolist() for item in outlines]


def _pad(image: np.ndarray, record: Record, margin: int) -> np.ndarray:
    """Room around a cut-out."""
    _shift(record, margin, margin)
    return cv2.copyMakeBorder(image, margin, margin, margin, margin, cv2.BORDER_CONSTANT)


def _crop(image: np.ndarray, record: Record) -> np.ndarray:
    """Take away what is empty around a cut-out; the inverse of `_pad`."""
    ys, xs = (image[..., 3] > 10).nonzero()
    left, top = int(xs.min()), int(ys.min())
    _shift(record, -left, -top)
    image = image[top : int(ys.max()) + 1, left : int(xs.max()) + 1]
    record["h"], record["w"] = image.shape[:2]
    return image


def _paste(image: np.ndarray, piece: np.ndarray, mask: np.ndarray, motion: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A masked piece of another cut-out moved onto this one: the picture, and where it lies, bool."""
    size = (image.shape[1], image.shape[0])
    colours = cv2.warpAffine(piece, motion, size, flags=cv2.INTER_AREA)
    weight = cv2.GaussianBlur(cv2.warpAffine(mask * 255, motion, size), (0, 0), 0.7)[..., None] / 255.0
    weight = weight * (colours[..., 3:] / 255.0)
    alpha = np.maximum(image[..., 3:], weight * 255)
    merged = np.dstack([image[..., :3] * (1 - weight) + colours[..., :3] * weight, alpha])
    return merged.round().astype(np.uint8), weight[..., 0] > 0.5


class Wardrobe:
    """Bags and hats of the people to train on."""

    def __init__(self, pack: Path, people: list[Record], rng: np.random.Generator) -> None:
        self.pack, self.rng = pack, rng
        self.bags = [p for p in people if p["bag_polygons"] and _torso(p) is not None and self._garment(p, "bag")]
        self.hats = [p for p in people if p["hat"] and _eyes(p) is not None and self._garment(p, "hat")]

    @staticmethod
    def _garment(record: Record, part: str) -> Record | None:
        """What is worn there, if it is large enough to be spoken of."""
        least = {"bag": 0.013, "hat": 0.007}[part]
        return next((g for g in record["garments"] if g["part"] == part and g["area"] >= least), None)

    def read(self, record: Record) -> np.ndarray:
        """The cut-out, uint8 BGRA."""
        return cv2.imread(str(self.pack / record["file"]), cv2.IMREAD_UNCHANGED)

    def borrow(
        self, owners: list[Record], points: Callable[[Record], np.ndarray | None]
    ) -> tuple[Record, np.ndarray, np.ndarray]:
        """Somebody of the owners, two points of theirs, and their cut-out."""
        donor = owners[self.rng.integers(len(owners))]
        source = points(donor)
        assert source is not None
        return donor, source, self.read(donor)

    def bag(self, image: np.ndarray, record: Record) -> np.ndarray:
        """Somebody else's bag, hung on the torso as it hung there."""
        target = _torso(record)
        if target is None or record["bag"]:
            return image
        donor, source, piece = self.borrow(self.bags, _torso)
        pasted, where = _paste(image, piece, _fill(donor["bag_polygons"], piece.shape), _similarity(source, target))
        if where.sum() < 0.012 * (pasted[..., 3] > 128).sum():
            return image  # too small to be spoken of
        record["garments"].append(copy.deepcopy(self._garment(donor, "bag")))
        record["bag"], record["bag_polygons"] = True, polygons(where)
        return pasted

    def dye(self, image: np.ndarray, record: Record) -> np.ndarray:
        """The own bag in another colour."""
        garment = self._garment(record, "bag")
        if garment is None or not record["bag_polygons"]:
            return image
        name = self.rng.choice([name for name in DYES if name != garment["color"]])
        where = _fill(record["bag_polygons"], image.shape)
        weight = cv2.GaussianBlur(where.astype(np.float32), (0, 0), 0.7)[..., None]
        lab = cv2.cvtColor(image[..., :3].astype(np.float32) / 255, cv2.COLOR_BGR2LAB)
        goal = np.array(DYES[name], np.float32) * self.rng.uniform(0.85, 1.12, 3).astype(np.float32)
        lightness = lab[..., :1] - lab[..., 0][where > 0].mean()
        dyed = np.dstack([np.clip(goal[0] + 0.9 * lightness, 4, 97), np.broadcast_to(goal[1:], (*lab.shape[:2], 2))])
        colours = np.clip(cv2.cvtColor(dyed.astype(np.float32), cv2.COLOR_LAB2BGR), 0, 1) * 255
        image = image.copy()
        image[..., :3] = (image[..., :3] * (1 - weight) + colours * weight).round()
        garment.update(color=str(name), conf=0.95, color2=None, share2=0, lab=goal.round().astype(int).tolist())
        return image

    def hat(self, image: np.ndarray, record: Record) -> np.ndarray:
        """Somebody else's head from above the eyes up."""
        target = _eyes(record)
        if target is None or record["hat"]:
            return image
        donor, source, piece = self.borrow(self.hats, _eyes)
        across = source[1] - source[0]
        up = np.array([across[1], -across[0]])  # as long as the eyes are apart
        rows, columns = np.mgrid[: piece.shape[0], : piece.shape[1]]
        above = (columns - source[0, 0]) * up[0] + (rows - source[0, 1]) * up[1]
        aside = np.abs((columns - source.mean(0)[0]) * across[0] + (rows - source.mean(0)[1]) * across[1])
        length = float(across @ across)
        mask = (above > 0.42 * length) & (aside < 2.6 * length) & (piece[..., 3] > 128)
        pasted, where = _paste(image, piece, mask.astype(np.uint8), _similarity(source, target))
        if not where.any():
            return image
        record["garments"].append(copy.deepcopy(self._garment(donor, "hat")))
        record["hat"] = True
        return pasted

    def glasses(self, image: np.ndarray, record: Record) -> np.ndarray:
        """Drawn glasses, or sunglasses twice as often."""
        eyes = _eyes(record)
        if eyes is None or record["glasses"]:
            return image
        name = str(self.rng.choice(["sunglasses", "sunglasses", "glasses"]))
        colour, opacity = LENSES[name]
        across = eyes[1] - eyes[0]
        apart = float(np.linalg.norm(across))
        scale = 8  # drawn larger, for smooth edges
        layer = np.zeros((image.shape[0] * scale, image.shape[1] * scale), np.uint8)
        frame = layer.copy()
        axes = (apart * self.rng.uniform(0.36, 0.47), apart * self.rng.uniform(0.24, 0.4))
        angle = float(np.degrees(np.arctan2(across[1], across[0])))
        thick = max(1, round(apart * scale * self.rng.uniform(0.04, 0.1)))

        def pixels(point: np.ndarray) -> tuple[int, int]:
            return (round(float(point[0]) * scale), round(float(point[1]) * scale))

        middles = [eyes[0] - 0.06 * across, eyes[1] + 0.06 * across]
        for middle in middles:
            size = (round(axes[0] * scale), round(axes[1] * scale))
            cv2.ellipse(layer, pixels(middle), size, angle, 0, 360, 255, -1)
            cv2.ellipse(frame, pixels(middle), size, angle, 0, 360, 255, thick)
        cv2.line(frame, pixels(middles[0]), pixels(middles[1]), 255, thick)
        joints = _joints(record)
        for middle, ear in ((middles[0], joints[RIGHT_EAR]), (middles[1], joints[LEFT_EAR])):
            if ear[2] == 2:
                cv2.line(frame, pixels(middle), pixels(ear[:2]), 255, thick)
        size = (image.shape[1], image.shape[0])
        lens, rim = (
            cv2.resize(x, size, interpolation=cv2.INTER_AREA)[..., None] / 255 * (image[..., 3:] > 128)
            for x in (layer, frame)
        )
        rims = np.array([(25, 22, 20), (30, 40, 70), (40, 40, 40)][self.rng.integers(3)])
        drawn = image[..., :3] * (1 - opacity * lens) + np.array(colour) * opacity * lens
        image = image.copy()
        image[..., :3] = (drawn * (1 - rim) + rims * rim).round()
        record["glasses"] = name
        return image

    def dress(self, record: Record, folder: Path, number: int) -> Record | None:
        """A variant of a person as a new cut-out, or None if nothing could be changed."""
        record = copy.deepcopy(record)
        image = original = _pad(self.read(record), record, record["h"] // 5)
        for name in ("bag", "dye", "hat", "glasses"):
            if self.rng.random() < CHANCES[name]:
                image = getattr(self, name)(image, record)
        if image is original:
            return None
        image = _crop(image, record)
        record["id"] = f"{record['id']}_{number}"
        record["file"] = f"{folder.name}/{record['id']}.webp"
        cv2.imwrite(str(folder / f"{record['id']}.webp"), image, [cv2.IMWRITE_WEBP_QUALITY, 90])
        return record


@click.command(cls=Command)
@click.argument("pack", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--output", type=click.Path(path_type=Path), required=True, help="Folder of the larger pack.")
@click.option("--variants", default=2, show_default=True, help="Of each person.")
@click.option("--seed", default=0, show_default=True)
def main(pack: Path, output: Path, variants: int, seed: int) -> None:
    """See the top of the file."""
    if not (pack / "cutouts.json").is_file():
        raise click.UsageError(f"{pack} holds no cutouts.json; give the folder of the pack")
    folder = output / "dressed"
    folder.mkdir(parents=True, exist_ok=True)
    for item in pack.iterdir():
        if item.name != "cutouts.json" and not (output / item.name).exists():
            (output / item.name).symlink_to(item.resolve())
    content = json.loads((pack / "cutouts.json").read_text())
    people = [record for record in content["cutouts"] if record["split"] == "train"]
    wardrobe = Wardrobe(pack, people, np.random.default_rng(seed))
    jobs = [(person, number) for person in people for number in range(variants)]
    with click.progressbar(jobs, label="people") as bar:
        dressed = [wardrobe.dress(person, folder, number) for person, number in bar]
    content["cutouts"] += [record for record in dressed if record]
    write_text(output / "cutouts.json", json.dumps(content))
    click.echo(f"{sum(record is not None for record in dressed)} further cut-outs of {len(people)} people")


if __name__ == "__main__":
    main()
