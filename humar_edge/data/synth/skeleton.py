"""Forward kinematics: joint angles to one rigid transform per bone."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .asset import Floats, load_asset
from .poses import Arm, Leg, Pose

FORWARD = np.array([0.0, -1.0, 0.0])
UP = np.array([0.0, 0.0, 1.0])


def rot_x(angle: float) -> Floats:
    """Rotation about X; a positive angle (radians) tilts +Z towards -Y, that is forward."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


def rot_y(angle: float) -> Floats:
    """Rotation about Y, radians."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def rot_z(angle: float) -> Floats:
    """Rotation about the vertical, radians."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


def _unit(vector: Floats) -> Floats:
    return vector / (np.linalg.norm(vector) + 1e-9)


def _cross_matrix(v: Floats) -> Floats:
    return np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]])


def rot_about(axis: Floats, angle: float) -> Floats:
    """Rotation about a unit axis (Rodrigues), radians."""
    k = _cross_matrix(axis)
    return np.eye(3) + np.sin(angle) * k + (1 - np.cos(angle)) * k @ k


def rot_between(a: Floats, b: Floats) -> Floats:
    """The smallest rotation that takes unit vector a to unit vector b (not opposite)."""
    k = _cross_matrix(np.cross(a, b))
    return np.eye(3) + k + k @ k / (1 + a @ b + 1e-6)


def _perpendicular(vector: Floats, axis: Floats) -> Floats:
    return _unit(vector - (vector @ axis) * axis)


class _ArmAim(NamedTuple):
    """Where an arm points: upper arm and forearm directions (world), and the twist of the upper arm (radians)."""

    upper: Floats
    forearm: Floats
    turned: Floats
    twist: float


class Skeleton:
    """Bone transforms of one shaped body.

    Args:
        heads: float [B, 3], bone heads of the shaped body in the rest pose.
    """

    def __init__(self, heads: Floats) -> None:
        asset = load_asset()
        self.names, self.parents = asset.bones, asset.parents
        self.heads = np.asarray(heads, np.float64)
        self.index = {name: i for i, name in enumerate(self.names)}
        self.spine = [name for name in self.names if name.startswith("spine")]
        self.neck = ["neck01", "neck02", "neck03", "head"]

    def pose(self, pose: Pose) -> tuple[Floats, Floats]:
        """Rotations [B, 3, 3] and translations [B, 3] so that a rest vertex v goes to R v + t."""
        rotations = np.empty((len(self.names), 3, 3))
        places = np.empty((len(self.names), 3))
        aims: dict[str, _ArmAim] = {}
        fixed = self._trunk(pose)
        for bone, name in enumerate(self.names):
            parent = self.parents[bone]
            above = np.eye(3) if parent < 0 else rotations[parent]
            part, _, side = name.partition(".")
            if name in fixed:
                rotation = above @ fixed[name]
            elif part == "clavicle":
                rotation = above @ self._clavicle(pose.arms[side], side)
            elif part == "upperarm01":
                aims[side] = self._aim(pose.arms[side], side, above, rotations[self.index["spine01"]])
                rotation = rot_about(aims[side].upper, aims[side].twist / 2) @ aims[side].turned
            elif part == "upperarm02":  # the second half of the twist
                rotation = rot_about(aims[side].upper, aims[side].twist / 2) @ above
            elif part == "lowerarm01":
                rotation = rot_between(above @ self._rest(f"lowerarm01.{side}", f"wrist.{side}"), aims[side].forearm)
                rotation = rotation @ above
            elif part == "upperleg01":
                rotation = above @ self._thigh(pose.legs[side], side)
            elif part == "lowerleg01":
                rest = above @ self._rest(f"lowerleg01.{side}", f"foot.{side}")
                rotation = rot_between(rest, self._shin(pose.legs[side], side)) @ above
            elif part == "foot":
                rotation = self._foot(pose, pose.legs[side], side)
            else:
                rotation = above
            rotations[bone] = rotation
            offset = self.heads[bone] - self.heads[parent]
            places[bone] = self.heads[bone] if parent < 0 else places[parent] + above @ offset
        return rotations, places - np.einsum("bij,bj->bi", rotations, self.heads)

    def _rest(self, start: str, end: str) -> Floats:
        return _unit(self.heads[self.index[end]] - self.heads[self.index[start]])

    def _trunk(self, pose: Pose) -> dict[str, Floats]:
        """The bend of the spine and of the neck, shared evenly by their bones."""
        lean, side, twist = np.radians([pose.lean, pose.side, pose.twist]) / len(self.spine)
        nod, turn, tilt = np.radians(pose.head) / len(self.neck)
        spine = rot_z(twist) @ rot_y(side) @ rot_x(lean)
        neck = rot_z(turn) @ rot_y(tilt) @ rot_x(nod)
        return {**dict.fromkeys(self.spine, spine), **dict.fromkeys(self.neck, neck)}

    @staticmethod
    def _clavicle(arm: Arm, side: str) -> Floats:
        """The shoulder goes up with a raised arm and forward with an arm in front."""
        sign = 1 if side == "L" else -1
        up = max(0.0, arm.raise_ - 60) * 0.22
        front = 12 * max(0.0, np.sin(np.radians(arm.swing))) * np.sin(np.radians(min(arm.raise_, 90)))
        return rot_z(-sign * np.radians(front)) @ rot_y(-sign * np.radians(up))

    def _aim(self, arm: Arm, side: str, above: Floats, chest: Floats) -> _ArmAim:
        sign = 1 if side == "L" else -1
        up, around, bend = np.radians([arm.raise_, arm.swing, arm.bend])
        upper = np.array([sign * np.sin(up) * np.cos(around), -np.sin(up) * np.sin(around), -np.cos(up)])
        bent = _perpendicular(np.array([sign * arm.hint[0], -arm.hint[1], arm.hint[2]]), upper)
        forearm = np.cos(bend) * upper + np.sin(bend) * bent
        upper, forearm, bent = chest @ upper, chest @ forearm, chest @ bent
        rest = self._rest(f"upperarm01.{side}", f"lowerarm01.{side}")
        turned = rot_between(above @ rest, upper) @ above
        hinge = turned @ _perpendicular(FORWARD, rest)  # an elbow bends forward at rest
        twist = float(np.arctan2(np.cross(hinge, bent) @ upper, hinge @ bent))
        return _ArmAim(upper, forearm, turned, float(np.clip(twist, -1.6, 1.6)) * min(1.0, arm.bend / 40))

    @staticmethod
    def _thigh_direction(leg: Leg, side: str) -> Floats:
        sign = 1 if side == "L" else -1
        hip, spread = np.radians([leg.hip, leg.spread])
        return np.array([sign * np.sin(spread), -np.sin(hip) * np.cos(spread), -np.cos(hip) * np.cos(spread)])

    def _thigh(self, leg: Leg, side: str) -> Floats:
        sign = 1 if side == "L" else -1
        direction = self._thigh_direction(leg, side)
        rest = self._rest(f"upperleg01.{side}", f"lowerleg01.{side}")
        return rot_about(direction, sign * np.radians(leg.turn)) @ rot_between(rest, direction)

    def _shin(self, leg: Leg, side: str) -> Floats:
        """Direction of the lower leg; the knee bends backward in the plane of the hip's flexion."""
        sign = 1 if side == "L" else -1
        thigh = self._thigh_direction(leg, side)
        hip, knee, turn = np.radians([leg.hip, leg.knee, sign * leg.turn])
        back = rot_about(thigh, turn) @ _perpendicular(np.array([0, np.cos(hip), -np.sin(hip)]), thigh)
        return np.cos(knee) * thigh + np.sin(knee) * back

    def _foot(self, pose: Pose, leg: Leg, side: str) -> Floats:
        """Feet stay level but for their pitch; a running leg in the air takes its foot along."""
        sign = 1 if side == "L" else -1
        if pose.action == "running" and leg.knee > 45:
            return rot_between(-UP, self._shin(leg, side)) @ rot_x(np.radians(10))
        return rot_z(sign * np.radians(0.8 * leg.turn)) @ rot_x(-np.radians(leg.pitch))
