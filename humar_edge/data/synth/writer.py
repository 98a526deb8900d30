"""A whole data set: scenes in parallel, pictures as they come, the annotation files last."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from humar_edge.errors import ConfigError, SinkError
from humar_edge.keypoints import NAMES, SKELETON

from .attributes import NAMES as ATTRIBUTES
from .attributes import describe
from .captions import caption_for, caption_for_nobody
from .looks import looks_in
from .scene import Figure, Scene, SceneConfig, make_scene
from .scribbles import scribbles

Entry = dict[str, Any]
Pair = tuple[Entry, Entry]
"""An `images` entry and its annotation, without ids."""

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class DatasetConfig:
    """A data set to write.

    Attributes:
        scenes: number of pictures.
        val_share: share of them in RefHuman_val.json.
        negatives: captions that fit nobody, per ordinary caption.
        captions: captions tried per person.
        seed: of everything; a scene depends on the seed and its number only.
        scene: what scenes look like.
    """

    scenes: int
    val_share: float = 0.1
    negatives: float = 0.3
    captions: int = 2
    seed: int = 0
    scene: SceneConfig = field(default_factory=SceneConfig)

    def __post_init__(self) -> None:
        low, high = self.scene.people
        checks = (
            (self.scenes >= 1, f"--scenes must be at least 1, not {self.scenes}"),
            (0 <= self.val_share <= 1, f"--val-share must be between 0 and 1, not {self.val_share:g}"),
            (0 <= self.negatives <= 10, f"--negatives must be between 0 and 10, not {self.negatives:g}"),
            (1 <= self.captions <= 50, f"--captions must be between 1 and 50, not {self.captions}"),
            (64 <= self.scene.size <= 2048, f"--size must be between 64 and 2048, not {self.scene.size}"),
            (1 <= low <= high <= 12, f"--people needs 1 <= MIN <= MAX <= 12, not {low} {high}"),
            (self.seed >= 0, f"--seed must not be negative, not {self.seed}"),
        )
        for good, message in checks:
            if not good:
                raise ConfigError(message)

    def is_val(self, index: int) -> bool:
        """Whether a scene belongs to the validation part: spread evenly over the numbers."""
        return int((index + 1) * self.val_share + 1e-9) > int(index * self.val_share + 1e-9)


def polygons(mask: np.ndarray) -> list[list[float]]:
    """Outer outlines of a mask as COCO polygons; specks of fewer than six pixels are left out."""
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    flat = [cv2.approxPolyDP(contour, 0.6, True).reshape(-1, 2) for contour in contours]
    return [
        outline.reshape(-1).astype(float).tolist()
        for outline, contour in zip(flat, contours)
        if len(outline) >= 3 and cv2.contourArea(contour) >= 6
    ]


def _present(figure: Figure, rng: np.random.Generator) -> Entry | None:
    outlines, strokes = polygons(figure.mask), scribbles(figure.mask, rng)
    if not outlines or strokes is None:
        return None
    keypoints = [round(float(v), 1) if i % 3 < 2 else int(v) for i, v in enumerate(figure.keypoints.reshape(-1))]
    return {
        "category_id": 1,
        "bbox": list(figure.box),
        "area": figure.area,
        "segmentation": outlines,
        "keypoints": keypoints,
        "num_keypoints": int((figure.keypoints[:, 2] > 0).sum()),
        "iscrowd": 0,
        "scribble": strokes,
    }


def _absent() -> Entry:
    return {
        "category_id": 1,
        "absent": True,
        "bbox": [0, 0, 0, 0],
        "area": 0,
        "segmentation": [],
        "keypoints": [0] * 51,
        "num_keypoints": 0,
        "iscrowd": 0,
    }


def _key(caption: str) -> str:
    return caption.lower().rstrip(".").removeprefix("the ").removeprefix("a ").removeprefix("an ")


def annotate(scene: Scene, file_name: str, config: DatasetConfig, rng: np.random.Generator) -> list[Pair]:
    """Captions and annotations of one scene: ordinary ones first, then those that fit nobody."""
    height, width = scene.picture.shape[:2]
    people, found, used = looks_in(scene), [], set()

    def image(caption: str) -> Entry:
        used.add(_key(caption))
        return {"file_name": file_name, "width": width, "height": height, "caption": caption}

    for index in scene.described:
        for _ in range(config.captions):
            caption = caption_for(rng, index, people)
            if caption is None or _key(caption) in used:
                continue
            annotation = _present(scene.figures[index], rng)
            if annotation:
                annotation["attributes"] = describe(people[index])
                found.append((image(caption), annotation))
    wanted = config.negatives * len(found)
    for _ in range(int(wanted) + int(rng.random() < wanted % 1)):
        caption = caption_for_nobody(rng, people)
        if caption is not None and _key(caption) not in used:
            found.append((image(caption), _absent()))
    return found


def _write_picture(path: Path, picture: np.ndarray, quality: int) -> None:
    good, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not good:
        raise SinkError(f"cannot encode {path.name} as JPEG")
    data.tofile(path)


def _job(task: tuple[int, str, DatasetConfig]) -> tuple[int, list[Pair]]:
    """One scene: render, write its picture, return its entries."""
    index, folder, config = task
    cv2.setNumThreads(1)
    rng = np.random.default_rng([config.seed, index])
    scene = make_scene(rng, config.scene)
    name = f"synth_{index:06d}.jpg"
    pairs = annotate(scene, name, config, rng)
    if pairs:
        _write_picture(Path(folder) / name, scene.picture, int(rng.integers(70, 96)))
    return index, pairs


@contextmanager
def _single_threaded() -> Iterator[None]:
    """Child processes use one thread each: faster together, and the same sums whatever their number."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _document(pairs: list[Pair]) -> Entry:
    category = {"id": 1, "name": "person", "supercategory": "person", "keypoints": list(NAMES),
                "skeleton": [[a + 1, b + 1] for a, b in SKELETON]}  # fmt: skip
    return {
        "images": [{"id": number, **image} for number, (image, _) in enumerate(pairs, 1)],
        "annotations": [{"id": number, "image_id": number, **entry} for number, (_, entry) in enumerate(pairs, 1)],
        "categories": [category],
        "attributes": list(ATTRIBUTES),
    }


def check_folder(folder: Path, force: bool) -> None:
    """Refuse a file, and a folder that is not empty unless forced.

    Raises:
        SinkError: for these.
    """
    if folder.exists() and not folder.is_dir():
        raise SinkError(f"{folder} is a file; give a folder")
    if folder.is_dir() and any(folder.iterdir()) and not force:
        raise SinkError(f"{folder} is not empty; choose another folder or add --force")


def prepare_folder(folder: Path, force: bool) -> Path:
    """Create the folder and its `images`; with force remove what an earlier run of the generator left.

    Raises:
        SinkError: if the folder is not empty (without force) or cannot be written.
    """
    check_folder(folder, force)
    pictures = folder / "images"
    try:
        pictures.mkdir(parents=True, exist_ok=True)
        for old in (*folder.glob("RefHuman_*.json*"), *pictures.glob("synth_*.jpg")):
            old.unlink()
    except OSError as error:
        raise SinkError(f"cannot write to {folder}: {error.strerror}") from error
    return pictures


def write_dataset(
    folder: Path,
    config: DatasetConfig,
    *,
    workers: int = 1,
    force: bool = False,
    on_scene: Callable[[], None] | None = None,
) -> dict[str, dict[str, int]]:
    """Render a data set in RefHuman format.

    Args:
        folder: to write to; `images/*.jpg`, then RefHuman_train.json and RefHuman_val.json, as far as they
            have scenes, renamed into place last.
        config: what to write.
        workers: processes; the result does not depend on their number.
        force: overwrite an earlier data set.
        on_scene: called after every scene.

    Returns:
        Counts per split: `scenes`, `captions`, `absent`.

    Raises:
        SinkError: if the folder cannot be used.
        ConfigError: if the number of workers is not positive.
    """
    if workers < 1:
        raise ConfigError(f"--workers must be at least 1, not {workers}")
    pictures = prepare_folder(folder, force)
    splits: dict[str, list[Pair]] = {"train": [], "val": []}
    counts = {split: {"scenes": 0, "captions": 0, "absent": 0} for split in splits}
    tasks = ((index, str(pictures), config) for index in range(config.scenes))
    context = multiprocessing.get_context("spawn")
    with _single_threaded(), ProcessPoolExecutor(workers, mp_context=context) as pool:
        try:
            chunk = max(1, min(8, config.scenes // (4 * workers)))
            for index, pairs in pool.map(_job, tasks, chunksize=chunk):
                split = "val" if config.is_val(index) else "train"
                splits[split] += pairs
                counts[split]["scenes"] += 1
                counts[split]["captions"] += len(pairs)
                counts[split]["absent"] += sum("absent" in annotation for _, annotation in pairs)
                if on_scene:
                    on_scene()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    ready = []
    for split, pairs in splits.items():
        if not counts[split]["scenes"]:
            continue  # a split without entries is none: nothing that reads it would go on
        temporary = folder / f"RefHuman_{split}.json.tmp"
        temporary.write_text(json.dumps(_document(pairs)), encoding="utf-8")
        ready.append(temporary)
    for temporary in ready:
        os.replace(temporary, temporary.with_suffix(""))
    return counts
