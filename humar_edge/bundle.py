"""A bundle: the folder that training and export produce and the runtime consumes.

It holds `manifest.json`, the ONNX engines and the tokenizer. The manifest names the SHA-256 of every other file;
loading verifies all of them, so that a half-copied or edited bundle is noticed before it gives wrong answers.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from humar_edge.errors import BundleError
from humar_edge.keypoints import NAMES, SKELETON

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
TEXT_ENGINE = "text.onnx"
VISION_ENGINE = "vision.onnx"
POSITIONAL_ENGINE = "positional.onnx"
FEATURES_ENGINE = "features.onnx"
PROMPT_ENGINE = "prompt.onnx"
TOKENIZER = "tokenizer.json"
REQUIRED_FILES = (TEXT_ENGINE, VISION_ENGINE, TOKENIZER)
SPLIT_FILES = (FEATURES_ENGINE, PROMPT_ENGINE)
"""The vision engine in two parts; optional, and of no use alone."""

PREPROCESSING: dict[str, Any] = {"color": "RGB", "letterbox": "top-left", "pad_value": 114}
"""The only preprocessing that the runtime knows."""

DEFAULT_BUNDLE = "edge-lite"


@dataclass(frozen=True)
class Manifest:
    """Typed view of `manifest.json`.

    Attributes:
        name: Name of the bundle.
        combo: The combination it was made from.
        components: transformer_type, text_encoder_type and backbone.
        input_size: Height and width of the engine's canvas, multiples of 4.
        token_length: Tokens per prompt, padding included.
        width: Width of the text features.
        precision: "fp32", "fp16", "int8" or a plan's name per engine (text, vision, positional, features, prompt).
        trained: False for random weights (latency work only).
        preprocessing: See `PREPROCESSING`.
        keypoints: Names of the keypoints.
        skeleton: Bones as pairs of keypoint indices.
        thresholds: `score`: from which probability on the person counts as found.
        metrics: Data set, command and figures.
        provenance: What it was trained on and by which version.
        licence: Licence of the weights.
        parity: Largest differences to the PyTorch model and their tolerances.
        notes: Free text.
        files: SHA-256 by file name.
        schema_version: Version of this layout.
    """

    name: str
    combo: str
    components: dict[str, str]
    input_size: tuple[int, int]
    token_length: int
    width: int
    precision: dict[str, str]
    trained: bool
    preprocessing: dict[str, Any] = field(default_factory=lambda: dict(PREPROCESSING))
    keypoints: list[str] = field(default_factory=lambda: list(NAMES))
    skeleton: list[list[int]] = field(default_factory=lambda: [list(bone) for bone in SKELETON])
    thresholds: dict[str, float] = field(default_factory=lambda: {"score": 0.5})
    metrics: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    licence: str = ""
    parity: dict[str, Any] = field(default_factory=dict)
    notes: str | list[str] = ""
    files: dict[str, str] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        """Check types and ranges, so that mistakes show at the manifest and not in an engine."""
        for key, kinds in _TYPES.items():
            value = getattr(self, key)
            # bool is an int for Python but not for JSON.
            if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
                raise BundleError(f"manifest: '{key}' must be {_spoken(kinds)}, got {type(value).__name__}")
        size = self.input_size
        if len(size) != 2 or any(not isinstance(side, int) or side < 4 or side % 4 for side in size):
            raise BundleError(f"manifest: 'input_size' must be [height, width], multiples of 4, got {list(size)}")
        object.__setattr__(self, "input_size", tuple(size))
        if self.token_length < 1 or self.width < 1:
            raise BundleError("manifest: 'token_length' and 'width' must be positive")
        if {key: self.preprocessing.get(key) for key in PREPROCESSING} != PREPROCESSING:
            raise BundleError(f"manifest: 'preprocessing' must be {json.dumps(PREPROCESSING)}")
        if len(self.keypoints) != len(NAMES):
            raise BundleError(f"manifest: 'keypoints' must name {len(NAMES)} keypoints, got {len(self.keypoints)}")
        score = self.thresholds.get("score")
        if isinstance(score, bool) or not isinstance(score, (int, float)) or not 0 <= score <= 1:
            raise BundleError("manifest: 'thresholds' must hold 'score' between 0 and 1")
        for name in self.files:
            if Path(name).name != name or name == MANIFEST:
                raise BundleError(f"manifest: '{name}' is not a plain file name")

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Manifest:
        """Read a manifest; keys of a later minor version that are not known here are ignored.

        Raises:
            BundleError: Another schema version, a missing key or a value of the wrong kind.
        """
        version = data.get("schema_version")
        if version != SCHEMA_VERSION:
            raise BundleError(
                f"manifest: schema version {version} cannot be read, this program reads {SCHEMA_VERSION}; "
                "export the bundle again or update humar-edge"
            )
        known = {item.name: item for item in fields(cls)}
        required = [name for name, item in known.items() if item.default is MISSING and item.default_factory is MISSING]
        missing = [name for name in required if name not in data]
        if missing:
            raise BundleError(f"manifest: missing {', '.join(missing)}")
        return cls(**{key: value for key, value in data.items() if key in known})

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, schema version first."""
        data = asdict(self)
        data["input_size"] = list(self.input_size)
        return {"schema_version": data.pop("schema_version"), **data}


_TYPES: dict[str, tuple[type, ...]] = {
    "name": (str,),
    "combo": (str,),
    "components": (dict,),
    "input_size": (list, tuple),
    "token_length": (int,),
    "width": (int,),
    "precision": (dict,),
    "trained": (bool,),
    "preprocessing": (dict,),
    "keypoints": (list, tuple),
    "skeleton": (list, tuple),
    "thresholds": (dict,),
    "metrics": (dict,),
    "provenance": (dict,),
    "licence": (str,),
    "parity": (dict,),
    "notes": (str, list),
    "files": (dict,),
}


def _spoken(kinds: tuple[type, ...]) -> str:
    names = {str: "text", dict: "an object", list: "a list", int: "a whole number", bool: "true or false"}
    return " or ".join(names[kind] for kind in kinds if kind in names)


@dataclass(frozen=True)
class Bundle:
    """A verified bundle on disk."""

    path: Path
    manifest: Manifest

    @classmethod
    def load(cls, path: str | Path) -> Bundle:
        """Read the manifest and verify the SHA-256 of every file.

        Raises:
            BundleError: Not a bundle, another schema version, or a missing, unlisted or changed file.
        """
        path = Path(path)
        manifest = _read_manifest(path)
        unnamed = [name for name in REQUIRED_FILES if name not in manifest.files]
        if unnamed:
            raise BundleError(f"{path}: the manifest does not list {', '.join(unnamed)}")
        halves = [name for name in SPLIT_FILES if name in manifest.files]
        if len(halves) == 1:
            raise BundleError(f"{path}: {halves[0]} without the other of {' and '.join(SPLIT_FILES)}; export it again")
        try:
            present = {item.name for item in path.iterdir() if not item.name.startswith(".")} - {MANIFEST}
            for name in sorted(set(manifest.files) - present):
                raise BundleError(f"{path}: {name} is missing; copy the whole bundle again")
            for name in sorted(present - set(manifest.files)):
                raise BundleError(f"{path}: {name} is not listed in {MANIFEST}; remove it or export the bundle again")
            for name, expected in manifest.files.items():
                if sha256(path / name) != expected:
                    raise BundleError(f"{path}: {name} does not match its SHA-256; copy or export the bundle again")
        except OSError as error:
            raise BundleError(f"{path}: cannot be read ({error})") from error
        return cls(path, manifest)

    @property
    def text_engine(self) -> Path:
        """The text engine."""
        return self.path / TEXT_ENGINE

    @property
    def vision_engine(self) -> Path:
        """The vision engine for text prompts."""
        return self.path / VISION_ENGINE

    @property
    def positional_engine(self) -> Path | None:
        """The vision engine for points, scribbles and boxes, None when the bundle has none."""
        return self.path / POSITIONAL_ENGINE if POSITIONAL_ENGINE in self.manifest.files else None

    @property
    def split_engines(self) -> tuple[Path, Path] | None:
        """The features engine and the prompt engine, which share a picture's features; None when it has none."""
        names = SPLIT_FILES if set(SPLIT_FILES) <= set(self.manifest.files) else None
        return None if names is None else (self.path / names[0], self.path / names[1])

    @property
    def tokenizer(self) -> Path:
        """The tokenizer's file."""
        return self.path / TOKENIZER

    @property
    def warning(self) -> str | None:
        """What a user of this bundle must be told in one line, None when there is nothing to say."""
        if self.manifest.trained:
            return None
        return f"bundle '{self.manifest.name}' is untrained (random weights): only its latency means anything"


def default_bundle_path() -> Path:
    """The bundle embedded in the package.

    Raises:
        BundleError: This installation has none.
    """
    path = Path(__file__).parent / "assets" / DEFAULT_BUNDLE
    if not (path / MANIFEST).is_file():
        raise BundleError(f"no embedded bundle '{DEFAULT_BUNDLE}' in this installation; name one with --model BUNDLE")
    return path


def write_bundle(path: str | Path, manifest: Manifest | Mapping[str, Any], files: Mapping[str, Path | bytes]) -> Bundle:
    """Write a bundle under a temporary name beside `path`, then rename it.

    Args:
        path: The bundle's folder. An existing bundle or an empty folder is replaced.
        manifest: The manifest; its `files` are filled in here.
        files: What goes in, by file name: a file to copy or its bytes.

    Raises:
        BundleError: A required file is not given, or `path` is something other than a bundle, or the current folder.
    """
    path = Path(path)
    absent = [name for name in REQUIRED_FILES if name not in files]
    if absent:
        raise BundleError(f"{path}: a bundle needs {', '.join(absent)}")
    require_replaceable(path)
    if not isinstance(manifest, Manifest):
        manifest = Manifest.from_dict({"schema_version": SCHEMA_VERSION, **manifest})
    manifest = replace(manifest, files=dict.fromkeys(files, ""))
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        temporary.mkdir(parents=True)
        for name, content in files.items():
            if isinstance(content, bytes):
                (temporary / name).write_bytes(content)
            else:
                shutil.copyfile(content, temporary / name)
        manifest = replace(manifest, files={name: sha256(temporary / name) for name in files})
        text = json.dumps(manifest.to_dict(), indent=2, ensure_ascii=False) + "\n"
        (temporary / MANIFEST).write_text(text, encoding="utf-8")
        if path.exists():
            shutil.rmtree(path)
        temporary.rename(path)
    except OSError as error:
        raise BundleError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return Bundle(path, manifest)


def require_replaceable(path: Path) -> None:
    """Refuse a folder that no bundle may be written to.

    Raises:
        BundleError: It holds something other than a bundle, or is the current folder, which cannot be renamed away.
    """
    if path.resolve() == Path.cwd():
        raise BundleError(f"{path} is the current folder; name another output folder")
    try:
        taken = path.exists() and not (path.is_dir() and ((path / MANIFEST).is_file() or not any(path.iterdir())))
    except OSError as error:
        raise BundleError(f"{path}: cannot be written ({error.strerror})") from error
    if taken:
        raise BundleError(f"{path} exists and is not a bundle; choose another output folder")


def sha256(path: Path) -> str:
    """SHA-256 of a file as hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _read_manifest(path: Path) -> Manifest:
    try:
        path.stat()
    except FileNotFoundError as error:
        raise BundleError(f"{path}: no such bundle") from error
    except OSError as error:  # a name that is too long, a folder that may not be entered
        raise BundleError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        data = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise BundleError(f"{path} is not a bundle: it has no {MANIFEST}") from error
    except (OSError, ValueError) as error:
        raise BundleError(f"{path}: {MANIFEST} cannot be read ({error})") from error
    if not isinstance(data, dict):
        raise BundleError(f"{path}: {MANIFEST} does not hold an object")
    try:
        return Manifest.from_dict(data)
    except BundleError as error:
        raise BundleError(f"{path}: {error}") from error
