"""Poses as joint angles in degrees, and how they are drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import cos, pi, sin

import numpy as np

Rng = np.random.Generator

STRAIGHT_HINT = (-0.15, 1.0, 0.1)


@dataclass(frozen=True)
class Arm:
    """One arm. Angles in degrees.

    Attributes:
        raise_: elevation of the upper arm, 0 hanging, 90 level.
        swing: azimuth of the upper arm, 0 sideways, 90 forward, negative backward.
        bend: flexion of the elbow.
        hint: direction (outward, forward, up) into which the forearm bends.
    """

    raise_: float
    swing: float
    bend: float
    hint: tuple[float, float, float] = STRAIGHT_HINT


@dataclass(frozen=True)
class Leg:
    """One leg: flexion and abduction of the hip, flexion of the knee, downward pitch of the foot, outward rotation."""

    hip: float
    spread: float
    knee: float
    pitch: float = 0.0
    turn: float = 6.0


@dataclass(frozen=True)
class Pose:
    """A whole pose; `action` is its word for the captions. The trunk angles are degrees, leaning forward positive."""

    action: str
    arms: dict[str, Arm]
    legs: dict[str, Leg]
    lean: float = 0.0
    side: float = 0.0
    twist: float = 0.0
    head: tuple[float, float, float] = field(default=(0.0, 0.0, 0.0))
    """Nod (down positive), turn and tilt of the head."""


def _hanging(rng: Rng) -> Arm:
    return Arm(rng.uniform(6, 16), rng.uniform(-10, 50), rng.uniform(8, 35))


def _base(rng: Rng, action: str) -> Pose:
    u = rng.uniform
    return Pose(
        action,
        arms={side: _hanging(rng) for side in "LR"},
        legs={side: Leg(u(-3, 6), u(1, 8), u(0, 8), 0, u(3, 15)) for side in "LR"},
        lean=u(-4, 6),
        side=u(-4, 4),
        twist=u(-10, 10),
        head=(u(-12, 18), u(-30, 30), u(-8, 8)),
    )


def _arms(rng: Rng, make: Callable[[], Arm]) -> dict[str, Arm]:
    return {side: make() for side in "LR"}


def _one_arm(rng: Rng, pose: Pose, arm: Arm) -> Pose:
    return replace(pose, arms={**pose.arms, str(rng.choice(["L", "R"])): arm})


def gait(phase: float, amplitude: float, running: bool = False) -> tuple[dict[str, Leg], dict[str, Arm]]:
    """Legs and arms of a walking or running person.

    Args:
        phase: position in the cycle, radians; the right side follows half a cycle later.
        amplitude: swing of the hips, degrees (walking 18-30, running 32-48).
        running: bend elbows and knees more.
    """
    legs, arms = {}, {}
    for side, offset in (("L", 0.0), ("R", pi)):
        swing, velocity = sin(phase + offset), cos(phase + offset)
        knee = 8 + (75 if running else 35) * max(0.0, velocity) ** 1.5 + (15 if running else 4) * max(0.0, -swing)
        pitch = -(35 if running else 22) * max(0.0, -swing)
        legs[side] = Leg(amplitude * swing + (8 if running else 2), 2.0, knee, pitch, 4.0)
        back = swing * (40 if running else 22)
        bend = (90 if running else 20) - 0.3 * back
        arms[side] = Arm(abs(back) + 7, 90 if back < 0 else -80, bend, (-0.2, 1.0, 0.3))
    return legs, arms


def _stand(rng: Rng, pose: Pose) -> Pose:
    if rng.random() < 0.5:  # the weight on one leg
        u = rng.uniform
        relaxed = Leg(u(8, 18), u(4, 10), u(15, 30), 0, u(8, 25))
        legs = {**pose.legs, str(rng.choice(["L", "R"])): relaxed}
        pose = replace(pose, legs=legs, side=pose.side + u(-5, 5))
    return pose


def _walk(rng: Rng, pose: Pose) -> Pose:
    phase = rng.uniform(0, 2 * pi)
    legs, arms = gait(phase, rng.uniform(18, 30))
    return replace(pose, legs=legs, arms=arms, lean=rng.uniform(0, 6), twist=8 * sin(phase))


def _run(rng: Rng, pose: Pose) -> Pose:
    phase = rng.uniform(0, 2 * pi)
    legs, arms = gait(phase, rng.uniform(36, 50), running=True)
    return replace(pose, legs=legs, arms=arms, lean=rng.uniform(8, 16), twist=8 * sin(phase))


def _sit(rng: Rng, pose: Pose) -> Pose:
    u = rng.uniform
    legs = {side: Leg(u(78, 95), u(3, 14), u(70, 100), 0, u(0, 8)) for side in "LR"}
    arms = _arms(rng, lambda: Arm(u(18, 40), u(50, 85), u(45, 85), (-0.3, 1.0, 0.1)))
    return replace(pose, legs=legs, arms=arms, lean=u(-12, 12))


def _raise(rng: Rng, pose: Pose) -> Pose:
    u = rng.uniform
    return replace(pose, arms=_arms(rng, lambda: Arm(u(125, 168), u(-10, 35), u(0, 45), (-0.4, 0.2, 1.0))))


def _wave(rng: Rng, pose: Pose) -> Pose:
    u = rng.uniform
    return _one_arm(rng, pose, Arm(u(75, 110), u(0, 40), u(65, 110), (-0.1, 0.1, 1.0)))


def _hips(rng: Rng, pose: Pose) -> Pose:
    u = rng.uniform
    return replace(pose, arms=_arms(rng, lambda: Arm(u(38, 52), u(-30, -5), u(85, 105), (-1.0, 0.35, -0.1))))


def _phone(rng: Rng, pose: Pose) -> Pose:
    u = rng.uniform
    return _one_arm(rng, pose, Arm(u(28, 45), u(25, 55), u(140, 150), (-0.25, 0.3, 1.0)))


def _point(rng: Rng, pose: Pose) -> Pose:
    u = rng.uniform
    return _one_arm(rng, pose, Arm(u(72, 95), u(0, 90), u(0, 15), (-0.2, 1.0, 0.2)))


def _fold(rng: Rng, pose: Pose) -> Pose:
    u = rng.uniform
    arms = {
        "L": Arm(u(25, 35), u(60, 80), u(85, 95), (-1.0, 0.55, 0.1)),
        "R": Arm(u(25, 35), u(60, 80), u(85, 95), (-1.0, 0.75, 0.25)),
    }
    return replace(pose, arms=arms)


def _crouch(rng: Rng, pose: Pose) -> Pose:
    u = rng.uniform
    hip = u(75, 110)
    legs = {side: Leg(hip + u(-5, 5), u(8, 22), hip * u(1.15, 1.3), 0, u(5, 20)) for side in "LR"}
    arms = _arms(rng, lambda: Arm(u(40, 75), u(60, 95), u(10, 60), (-0.3, 1.0, 0.3)))
    return replace(pose, legs=legs, arms=arms, lean=u(18, 35))


MAKERS: dict[str, tuple[float, Callable[[Rng, Pose], Pose]]] = {
    "standing": (2.5, _stand),
    "walking": (2.0, _walk),
    "running": (1.2, _run),
    "sitting": (1.6, _sit),
    "arms raised": (1.0, _raise),
    "waving": (1.2, _wave),
    "hands on hips": (0.9, _hips),
    "phoning": (0.7, _phone),
    "pointing": (0.8, _point),
    "arms folded": (0.7, _fold),
    "crouching": (0.9, _crouch),
}
"""Action -> (how often, what makes it of a standing pose)."""


def sample_pose(rng: Rng, action: str | None = None) -> Pose:
    """A random pose, of the given action or of a random one."""
    if action is None:
        weights = np.array([weight for weight, _ in MAKERS.values()])
        action = str(rng.choice(list(MAKERS), p=weights / weights.sum()))
    return MAKERS[action][1](rng, _base(rng, action))
