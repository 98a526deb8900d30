"""What a viewer can tell about each person of a scene: the facts captions are made of and checked against."""

from __future__ import annotations

from dataclasses import dataclass

from .scene import Figure, Scene

LEAST_PIXELS = {"top": 0.0010, "jacket": 0.0010, "bottom": 0.0010, "hair": 0.0003, "hat": 0.0003, "shoe": 0.0004}
"""Visible share of the picture from which a part may be named."""

CHILD_BELOW, ADULT_FROM = 0.38, 0.55
MALE_BELOW, FEMALE_FROM = 0.27, 0.73


@dataclass(frozen=True)
class Looks:
    """One person as seen; positions in shares of the picture's width, distances in metres.

    Attributes:
        sex: "m", "f" or "" where one could not say.
        age: "child", "adult" or "" where one could not say.
        upper, upper_second: colour of the top and of its pattern ("" if plain).
        top_kind, pattern: as in the outfit.
        jacket, jacket_kind: colour and kind of an open jacket, "" without.
        lower, lower_kind: colour and kind of the garment below.
        hair, hair_style, beard, hat, shoe: as in the outfit; `hat` is "" without.
        action: of the pose.
        back: turned away: 1 surely, 0 surely not, 0.5 half.
        shown: parts of which enough is visible.
        legs, hands, face: whether these are in the picture and not hidden.
        sure: whether the person is visible well enough for a caption.
        x, left, right, distance: middle and edges of the box; distance from the camera.
    """

    sex: str
    age: str
    upper: str
    upper_second: str
    top_kind: str
    pattern: str
    jacket: str
    jacket_kind: str
    lower: str
    lower_kind: str
    hair: str
    hair_style: str
    beard: bool
    hat: str
    shoe: str
    action: str
    back: float
    shown: frozenset[str]
    legs: bool
    hands: bool
    face: bool
    sure: bool
    x: float
    left: float
    right: float
    distance: float


def _three(value: float, low: float, high: float, names: tuple[str, str]) -> str:
    return names[0] if value < low else names[1] if value >= high else ""


def _second_colour(figure: Figure) -> str:
    """Name of the pattern's colour: the closest one of the palette."""
    from .palette import CLOTH

    top = figure.outfit.top
    if top.pattern == "plain":
        return ""
    return min(CLOTH, key=lambda name: float(((top.pattern_rgb - CLOTH[name]) ** 2).sum()))


def looks_of(figure: Figure, sure: bool, width: int, height: int) -> Looks:
    """The facts about one person."""
    outfit, build, seen = figure.outfit, figure.body.build, figure.keypoints[:, 2] == 2
    turn = abs((figure.yaw + 180) % 360 - 180)
    area = width * height
    shown = frozenset(part for part, least in LEAST_PIXELS.items() if figure.parts.get(part, 0) >= least * area)
    return Looks(
        sex=_three(build.gender, MALE_BELOW, FEMALE_FROM, ("m", "f")),
        age=_three(build.age, CHILD_BELOW, ADULT_FROM, ("child", "adult")),
        upper=outfit.top.colour,
        upper_second=_second_colour(figure),
        top_kind=outfit.top.kind,
        pattern=outfit.top.pattern,
        jacket=outfit.jacket.colour if outfit.jacket else "",
        jacket_kind=outfit.jacket.kind if outfit.jacket else "",
        lower=outfit.bottom.colour,
        lower_kind=outfit.bottom.kind,
        hair=outfit.hair,
        hair_style=outfit.hair_style,
        beard=outfit.beard,
        hat=outfit.hat or "",
        shoe=outfit.shoe,
        action=figure.body.pose.action,
        back=1.0 if turn > 140 else 0.5 if turn > 100 else 0.0,
        shown=shown,
        legs=bool(seen[13:17].sum() >= 2 and (figure.keypoints[13:17, 2] > 0).all()),
        hands=bool(seen[7:11].sum() >= 3),
        face=bool(seen[0:3].sum() >= 2),
        sure=sure,
        x=figure.centre_x / width,
        left=figure.box[0] / width,
        right=(figure.box[0] + figure.box[2]) / width,
        distance=figure.distance,
    )


def looks_in(scene: Scene) -> dict[int, Looks]:
    """Facts about everybody of whom at least a pixel is visible, by index of the figure."""
    height, width = scene.picture.shape[:2]
    described = set(scene.described)
    return {
        index: looks_of(figure, index in described, width, height)
        for index, figure in enumerate(scene.figures)
        if figure.area
    }
