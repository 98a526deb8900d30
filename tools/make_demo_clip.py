"""Render the shipped demo clip: three people of whom one walks, one waves and one stands, and the truth about them.

    python tools/make_demo_clip.py

Writes humar_edge/assets/demo.mp4 (VP9, plays in browsers) and humar_edge/assets/demo.json with the captions, boxes,
keypoints and visible areas of each person in each frame.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from math import pi, sin
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from humar_edge.data.synth import backgrounds, palette
from humar_edge.data.synth.asset import load_asset
from humar_edge.data.synth.body import Build, build_of, make_body
from humar_edge.data.synth.camera import Camera
from humar_edge.data.synth.lighting import Light
from humar_edge.data.synth.outfits import Bottom, Outfit, Top, sample_outfit
from humar_edge.data.synth.poses import Arm, Leg, Pose, gait
from humar_edge.data.synth.render import Actor, render
from humar_edge.data.synth.scene import collect, composite, to_bgr

ASSETS = Path(__file__).resolve().parent.parent / "humar_edge" / "assets"
WIDTH, HEIGHT, FPS, SECONDS = 640, 480, 24, 6.0
STRIDE = 1.40  # metres per gait cycle at 24 degrees of swing
SPEED = 1.0
TURN = (2.7, 3.3)  # seconds: when the walker turns round

CAPTIONS = {
    "walker": ["the man in red", "man in a red shirt and blue jeans", "the man walking", "walking man"],
    "waver": [
        "the woman in blue",
        "woman in a yellow skirt",
        "the woman waving",
        "woman in a blue top and a yellow skirt",
    ],
    "stander": ["the person in green", "man in a green sweater", "the person on the right", "the man standing"],
}


def _body(gender: tuple[float, float], age: tuple[float, float], number: int) -> Build:
    """One of the asset's bodies within ranges of the shape parameters."""
    phenotypes = load_asset().phenotypes
    fits = (phenotypes["gender"] >= gender[0]) & (phenotypes["gender"] <= gender[1])
    fits &= (phenotypes["age"] >= age[0]) & (phenotypes["age"] <= age[1])
    return build_of(int(np.nonzero(fits)[0][number]))


def _dressed(build: Build, top: Top, bottom: Bottom, hair: str, style: str, skin: int, seed: int) -> Outfit:
    base = sample_outfit(np.random.default_rng(seed), build)
    return replace(
        base,
        top=top,
        bottom=bottom,
        jacket=None,
        hat=None,
        beard=False,
        hair=hair,
        hair_rgb=np.array(palette.HAIR[hair], np.float32),
        hair_style=style,
        hair_length=0.5,
        skin_rgb=np.array(palette.SKIN[skin], np.float32),
        shoe="white",
        shoe_rgb=np.array(palette.CLOTH["white"], np.float32),
    )


def _rgb(name: str) -> np.ndarray:
    return np.array(palette.CLOTH[name], np.float32)


def _top(kind: str, colour: str, sleeve: float, loose: float) -> Top:
    return Top(kind, colour, _rgb(colour), sleeve, 0.06, loose, "plain", _rgb("white"), 0.4)


def _smooth(t: float, start: float, end: float) -> float:
    share = min(max((t - start) / (end - start), 0.0), 1.0)
    return share * share * (3 - 2 * share)


def _walker(t: float) -> tuple[Pose, float, np.ndarray]:
    """Walks to the right behind the others, turns round and comes back."""
    turned = _smooth(t, *TURN)
    legs, arms = gait(2 * pi * SPEED * t / STRIDE, 24 - 14 * 4 * turned * (1 - turned))
    pose = Pose("walking", arms, legs, lean=3, twist=8 * sin(2 * pi * SPEED * t / STRIDE))
    out, back = min(t, TURN[0]), max(0.0, t - TURN[1])
    x = -2.0 + SPEED * (out - back) + 0.2 * sin(pi * turned)
    return pose, 82 - 164 * turned, np.array([x, 5.35 - 0.45 * turned, 0])


def _waver(t: float) -> tuple[Pose, float, np.ndarray]:
    """Stands and waves with the right arm."""
    swing = sin(2 * pi * 1.3 * t)
    arms = {"R": Arm(88, 12, 92 + 26 * swing, (-0.1, 0.1, 1.0)), "L": Arm(10, 20, 18 + 2 * sin(2 * t))}
    legs = {"L": Leg(1, 4, 3, 0, 8), "R": Leg(10, 6, 20, 0, 14)}
    pose = Pose("waving", arms, legs, lean=1.0, side=2 * sin(1.3 * t), head=(2, 8 * sin(0.9 * t), 4 * sin(1.3 * t)))
    return pose, 6.0, np.array([-0.42, 4.2, 0])


def _stander(t: float) -> tuple[Pose, float, np.ndarray]:
    """Stands, shifts the weight a little and looks around."""
    arms = {"L": Arm(9, 15, 16 + 3 * sin(1.1 * t)), "R": Arm(11, 20, 22 + 3 * sin(0.8 * t))}
    legs = {"L": Leg(2, 5, 4, 0, 10), "R": Leg(1, 4, 3, 0, 12)}
    pose = Pose("standing", arms, legs, lean=1 + sin(1.2 * t), side=2 * sin(0.8 * t), head=(3, 25 * sin(0.7 * t), 0))
    return pose, -18.0, np.array([1.28, 4.5, 0])


def _cast() -> list[tuple[str, Build, Outfit, Any]]:
    man, woman, other = _body((0, 0.1), (0.55, 0.7), 2), _body((0.9, 1), (0.5, 0.65), 1), _body((0, 0.1), (0.6, 0.8), 5)
    red, blue, green = (
        _top("shirt", "red", 1.88, 0.5),
        _top("T-shirt", "blue", 0.5, 0.4),
        _top("sweater", "green", 1.9, 0.9),
    )
    jeans = Bottom("jeans", "blue", np.array((62, 86, 132), np.float32), 1.93, 0.5)
    skirt = Bottom("skirt", "yellow", _rgb("yellow"), 0.95, 0.5)
    beige = Bottom("trousers", "beige", _rgb("beige"), 1.93, 0.6)
    return [
        ("walker", man, _dressed(man, red, jeans, "black", "short", 4, 1), _walker),
        ("waver", woman, _dressed(woman, blue, skirt, "brown", "long", 1, 2), _waver),
        ("stander", other, _dressed(other, green, beige, "brown", "short", 2, 3), _stander),
    ]


def _truth(figure: Any) -> dict[str, Any]:
    return {
        "box": list(figure.box),
        "area": figure.area,
        "keypoints": [round(float(v), 1) for v in figure.keypoints.reshape(-1)],
    }


def make_clip(video: Path, truth: Path, stills: Path | None = None) -> None:
    """Render all frames and write both files.

    Args:
        video: .mp4 file to write.
        truth: .json file to write.
        stills: folder for every 12th frame as PNG, None for none.
    """
    camera = Camera(WIDTH, HEIGHT, 720.0, 1.5, 0.105)
    sun = np.array([-0.45, -0.6, 0.9])
    light = Light(*(np.array(v, np.float32) for v in (
        sun / np.linalg.norm(sun), (0.86, 0.82, 0.74), (0.52, 0.55, 0.60), (0.26, 0.25, 0.23),
    )))  # fmt: skip
    background = backgrounds.procedural(np.random.default_rng(11), camera, 6.5, "street")
    cast = _cast()
    people: dict[str, list[dict[str, Any]]] = {name: [] for name, *_ in cast}
    partial = video.with_name(f"{video.stem}.part{video.suffix}")
    writer = cv2.VideoWriter(str(partial), cv2.VideoWriter.fourcc(*"vp09"), FPS, (WIDTH, HEIGHT))
    if not writer.isOpened():
        raise SystemExit("this OpenCV cannot write VP9; install the opencv-python wheel from PyPI")
    for frame in range(round(FPS * SECONDS)):
        actors = []
        for _, build, outfit, move in cast:
            pose, yaw, position = move(frame / FPS)
            actors.append(Actor(make_body(build, pose), outfit, yaw, position))
        rendered = render(actors, [], camera, light, np.random.default_rng(0))
        # As soft as a lens; it also keeps the file small, for OpenCV offers no control of the bit rate.
        picture = cv2.GaussianBlur(to_bgr(composite(rendered, background, camera)), (0, 0), 0.7)
        writer.write(picture)
        if stills is not None and frame % 12 == 0:
            cv2.imwrite(str(stills / f"{frame:03d}.png"), picture)
        for (name, *_), figure in zip(cast, collect(picture, actors, rendered, camera, 2).figures):
            people[name].append(_truth(figure))
    writer.release()
    document = {
        "width": WIDTH,
        "height": HEIGHT,
        "fps": FPS,
        "frames": round(FPS * SECONDS),
        "box": "x, y, width, height in pixels",
        "keypoints": "17 x (x, y, v) in COCO order; v 2 seen, 1 hidden, 0 outside",
        "people": [{"name": name, "captions": CAPTIONS[name], "frames": rows} for name, rows in people.items()],
    }
    truth.write_text(json.dumps(document, separators=(",", ":")), encoding="utf-8")
    partial.replace(video)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=ASSETS, help="folder for demo.mp4 and demo.json")
    parser.add_argument("--stills", type=Path, help="existing folder for some frames as PNG")
    chosen = parser.parse_args()
    make_clip(chosen.output / "demo.mp4", chosen.output / "demo.json", chosen.stills)
