"""Compose street scenes with the pack's `compose.py` and say in each annotation what is known of the person.

    python tools/compose_people.py PACK --out street --train 12000 --aspect random --captions 3 [options of compose.py]

Three options are its own: `--views STREET CLOSE DEEP GROUP FAR` are weights of the composer's scenes, of close ones, of
such with near and far people, of groups that pose and of small people far away; `--zoom SHARE` of the scenes become
close-ups of somebody in them, and `--cover SHARE` get something in front of somebody.

An annotation gets `attributes`, one character per entry of the file's table `attributes`: 1 true, 0 false, ? unknown or
out of sight. `humar-edge train` learns to name them (`--attribute-weight`).
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import cv2
import looks
import more_words
from closer_scenes import mixed, put_in_front
from user_errors import Command
from zoom_in import zoom as close_up

from humar_edge.files import write_text

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
        raise click.UsageError(f"{pack} holds no compose.py; give the folder of the pack")
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


def install(compose: ModuleType, views: Sequence[float], closer: float, cover: float) -> None:
    """Make the composer's `job` attach the attributes of the person to every annotation, of scenes as wanted."""
    scene, job = compose.scene, compose.job
    if any(views[1:]):  # without these options scenes are what compose.py alone makes
        compose.layout = mixed(compose.layout, views)
    more_words.install(compose)
    looks.install(compose)
    compose.KINDS |= {name: " ".join(HEADWEAR) for name in HEADWEAR}
    people: list[dict[str, Any]] = []

    def remember(rng: Any, options: Any, cuts: Any, backgrounds: Any) -> Any:
        found = scene(rng, options, cuts, backgrounds)
        if found and closer and rng.random() < closer:
            found = close_up(*found, rng, options.size) or found
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


@click.command(cls=Command, context_settings={"ignore_unknown_options": True})
@click.argument("pack", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the data set.")
@click.option(
    "--views", type=click.FloatRange(0), nargs=5, default=(1, 0, 0, 0, 0), metavar="STREET CLOSE DEEP GROUP FAR",
    help="Weights of the composer's scenes, of close ones, of such with near and far people, of groups, of far people.",
)  # fmt: skip
@click.option("--zoom", type=click.FloatRange(0, 1), default=0, help="Share of scenes that become close-ups.")
@click.option("--cover", type=click.FloatRange(0, 1), default=0, help="Share of scenes with something before somebody.")
@click.argument("rest", nargs=-1, type=click.UNPROCESSED, metavar="[OPTIONS OF compose.py]")
def main(pack: Path, out: Path, views: tuple[float, ...], zoom: float, cover: float, rest: tuple[str, ...]) -> None:
    """Compose, then add the table of attributes to the files."""
    if not sum(views):
        raise click.UsageError("--views: one of the five weights must be more than 0")
    compose = load(pack)
    install(compose, views, zoom, cover)
    sys.argv[1:] = [*rest, "--pack", str(pack), "--out", str(out)]
    compose.main()
    for path in sorted(out.glob("RefHuman_*.json")):
        content = json.loads(path.read_text())
        content["attributes"] = names(compose)
        write_text(path, json.dumps(content))


if __name__ == "__main__":
    main()
