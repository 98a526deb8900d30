"""Compose street scenes with the pack's `compose.py` and say in each annotation what is known of the person.

    python tools/compose_people.py PACK --out street --train 12000 --aspect random --captions 3 [options of compose.py]

Two options are its own: `--views STREET CLOSE DEEP` are weights of the composer's scenes, of close ones and of such
with near and far people; `--cover SHARE` of the scenes get something in front of somebody.

An annotation gets `attributes`, one character per entry of the file's table `attributes`: 1 true, 0 false, ? unknown or
out of sight. `humar-edge train` learns to name them (`--attribute-weight`).
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import more_words
from closer_scenes import mixed, put_in_front

PARTS = {
    "torso": ("outer", "upper", "whole"),
    "lower": ("lower", "whole"),
    "feet": ("feet", "socks"),
    "hat": ("hat",),
    "bag": ("bag",),
}
OF_PART = {"torso": "upper", "lower": "lower", "feet": "feet", "hat": "hat", "bag": "bag"}
TYPES = ("dress", "skirt", "shorts", "hat", "bag", "scarf", "boots", "coat")
HEADWEAR = ("hat", "cap", "helmet")
HAIR = ("black", "brown", "blond", "red", "gray")


def load(pack: Path) -> ModuleType:
    """The pack's composer as a module that worker processes can find."""
    spec = importlib.util.spec_from_file_location("compose", pack / "compose.py")
    if spec is None or spec.loader is None or not (pack / "compose.py").is_file():
        raise SystemExit(f"{pack} holds no compose.py; give the folder of the pack")
    module = importlib.util.module_from_spec(spec)
    sys.modules["compose"] = module
    spec.loader.exec_module(module)
    return module


def names(compose: ModuleType) -> list[str]:
    """What is said of each person, in the order of the characters."""
    colours = list(compose.TYPICAL)
    return [
        *(f"{colour} {part}" for part in PARTS for colour in colours),
        *(f"in {colour}" for colour in colours),
        *TYPES,
        *(f"{colour} hair" for colour in HAIR),
        "glasses",
        "beard",
        "female",
    ]


def describe(compose: ModuleType, person: dict[str, Any]) -> str:
    """The characters of one person of a scene."""
    record, seen = person["rec"], person["K"][:, 2] == 2
    garments = record["garments"]
    exhaustive = record["source"] == "ccp"
    head, body = seen[:3].any(), seen[5:7].sum() + seen[11:13].sum() >= 2 and seen[5:7].any()
    legs = seen[13:15].any() and seen[11:15].sum() >= 2
    sight = {"torso": body, "lower": legs, "feet": seen[15:17].any() and person["feet_in"], "hat": head}
    sight["bag"] = person["bag_seen"] or (body and legs and not any(g["part"] == "bag" for g in garments))

    def coloured(colour: str, part: str) -> str:
        worn = [g for g in garments if g["part"] in PARTS[part]]
        if not sight[part]:
            return "?"
        if any(g["color"] == colour and g["conf"] >= 0.6 for g in worn):
            return "1"
        fact = {"kind": "colour", "part": OF_PART[part], "g": {"color": colour, "lab": list(compose.TYPICAL[colour])}}
        return "?" if compose.fits(fact, person) or (not worn and not exhaustive) else "0"

    def dressed_in(colour: str) -> str:
        torso = [g for g in garments if g["part"] in PARTS["torso"]]
        largest = max((g["area"] for g in torso), default=0)
        if not body or not torso:
            return "?"
        if any(g["color"] == colour and g["conf"] >= 0.6 and g["area"] > max(0.14, 0.7 * largest) for g in torso):
            return "1"
        return "?" if compose.in_colour(colour, list(compose.TYPICAL[colour]), person) else "0"

    def wears(name: str) -> str:
        if not {"hat": head, "scarf": head, "bag": sight["bag"], "boots": sight["feet"], "coat": body}.get(name, legs):
            return "?"
        if any(g["name"] in (HEADWEAR if name == "hat" else (name,)) for g in garments):
            return "1"
        kind = {"hat": "hat", "bag": "bag", "scarf": "scarf", "boots": "feet", "coat": "outer"}.get(name, "lower")
        return "?" if compose.fits({"kind": "type", "part": kind, "g": {"name": name}}, person) else "0"

    def hair(colour: str) -> str:
        found = record["hair"]
        if not head or not found or found["conf"] < 0.65 or record["hat"]:
            return "?"
        near = compose.HAIR_NEAR[colour].split()
        return "1" if found["color"] == colour else "?" if found["color"] in near else "0"

    sex = compose.SEX.get(record["gender"])
    rest = [
        ("1" if record["glasses"] else "0") if seen[1:3].any() and exhaustive else "?",
        {True: "1", False: "0"}.get(record.get("beard"), "?") if seen[0] else "?",
        {"f": "1", "m": "0"}.get(sex or "", "?"),
    ]
    characters = [coloured(colour, part) for part in PARTS for colour in compose.TYPICAL]
    characters += [dressed_in(colour) for colour in compose.TYPICAL]
    return "".join([*characters, *map(wears, TYPES), *map(hair, HAIR), *rest])


def install(compose: ModuleType, views: list[float], cover: float) -> None:
    """Make the composer's `job` attach the attributes of the person to every annotation, of scenes as wanted."""
    scene, job = compose.scene, compose.job
    if any(views[1:]):  # without these options scenes are what compose.py alone makes
        compose.layout = mixed(compose.layout, views)
    more_words.install(compose)
    compose.KINDS |= {name: " ".join(HEADWEAR) for name in HEADWEAR}
    people: list[dict[str, Any]] = []

    def remember(rng: Any, options: Any, cuts: Any, backgrounds: Any) -> Any:
        found = scene(rng, options, cuts, backgrounds)
        if found and cover and rng.random() < cover:
            photo = cv2.imread(str(Path(options.pack) / backgrounds[rng.integers(len(backgrounds))]["file"]))
            found = put_in_front(*found, photo, rng)
        people[:] = found[1] if found else []
        return found

    def described(arguments: Any) -> Any:
        pairs = job(arguments)
        known = {tuple(person["bbox"]): describe(compose, person) for person in people}
        for _, annotation in pairs:
            if not annotation.get("absent"):
                annotation["attributes"] = known[tuple(annotation["bbox"])]
        return pairs

    compose.scene, compose.job = remember, described
    described.__module__, described.__qualname__ = "compose", "job"


def main() -> None:
    """Compose, then add the table of attributes to the files."""
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        raise SystemExit(__doc__)
    pack = Path(sys.argv.pop(1))
    compose = load(pack)
    own = argparse.ArgumentParser(add_help=False)
    own.add_argument("--views", type=float, nargs=3, default=[1, 0, 0])
    own.add_argument("--cover", type=float, default=0)
    options, rest = own.parse_known_args(sys.argv[1:])
    install(compose, options.views, options.cover)
    sys.argv[1:] = [*rest, "--pack", str(pack)]
    compose.main()
    out = Path(sys.argv[sys.argv.index("--out") + 1])
    for path in sorted(out.glob("RefHuman_*.json")):
        content = json.loads(path.read_text())
        content["attributes"] = names(compose)
        unfinished = path.with_suffix(".tmp")
        unfinished.write_text(json.dumps(content))
        unfinished.replace(path)


if __name__ == "__main__":
    main()
