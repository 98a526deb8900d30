from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest
from permissions import locked

from humar_edge.bundle import MANIFEST, Bundle, Manifest, default_bundle_path, write_bundle
from humar_edge.errors import BundleError


@pytest.fixture
def copy(tiny_bundle, tmp_path):
    path = tmp_path / "Bündel"
    shutil.copytree(tiny_bundle, path)
    return path


def edit(path, **changes):
    manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    for key, value in changes.items():
        manifest.pop(key)
        if value is not None:
            manifest[key] = value
    (path / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")


def files(bundle):
    return {name: (bundle.path / name).read_bytes() for name in bundle.manifest.files}


def test_load(copy):
    bundle = Bundle.load(copy)
    assert bundle.manifest.input_size == (96, 128)
    assert bundle.warning is None
    paths = (bundle.text_engine, bundle.vision_engine, bundle.positional_engine, bundle.tokenizer)
    assert all(path is not None and path.is_file() for path in paths)


def test_split_engines_come_in_pairs(make_tiny_bundle, tmp_path):
    bundle = Bundle.load(make_tiny_bundle(tmp_path / "b", split=True).path)
    assert bundle.split_engines == (bundle.path / "features.onnx", bundle.path / "prompt.onnx")
    content = {name: data for name, data in files(bundle).items() if name != "prompt.onnx"}
    write_bundle(bundle.path, bundle.manifest, content)
    with pytest.raises(BundleError, match=r"features\.onnx without the other of features\.onnx and prompt\.onnx"):
        Bundle.load(bundle.path)


def test_manifest_round_trip(tiny_bundle):
    manifest = Bundle.load(tiny_bundle).manifest
    assert Manifest.from_dict(json.loads(json.dumps(manifest.to_dict()))) == manifest
    assert next(iter(manifest.to_dict())) == "schema_version"


def test_keys_of_a_later_version_are_ignored(copy):
    edit(copy, notes=["a", "b"])
    data = json.loads((copy / MANIFEST).read_text()) | {"something_new": 1}
    assert Manifest.from_dict(data).notes == ["a", "b"]


def test_every_damage_is_named(copy):
    (copy / "vision.onnx").write_bytes(b"other")
    with pytest.raises(BundleError, match=r"vision\.onnx does not match its SHA-256"):
        Bundle.load(copy)
    (copy / "vision.onnx").unlink()
    with pytest.raises(BundleError, match=r"vision\.onnx is missing"):
        Bundle.load(copy)


def test_unlisted_files_are_refused_but_hidden_ones_are_not(copy):
    (copy / ".DS_Store").write_bytes(b"")
    Bundle.load(copy)
    (copy / "extra.onnx").write_bytes(b"")
    with pytest.raises(BundleError, match=r"extra\.onnx is not listed"):
        Bundle.load(copy)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema_version": 2}, "schema version 2 cannot be read"),
        ({"schema_version": None}, "schema version None"),
        ({"width": None}, "missing width"),
        ({"trained": "yes"}, "'trained' must be true or false, got str"),
        ({"token_length": True}, "'token_length' must be a whole number"),
        ({"token_length": 0}, "must be positive"),
        ({"input_size": [96]}, "multiples of 4"),
        ({"input_size": [96, 130]}, "multiples of 4"),
        ({"input_size": [96.0, 128.0]}, "multiples of 4"),
        ({"thresholds": {"score": 2}}, "between 0 and 1"),
        ({"thresholds": {}}, "between 0 and 1"),
        ({"keypoints": ["nose"]}, "17 keypoints"),
        ({"preprocessing": {"color": "BGR"}}, "'preprocessing' must be"),
        ({"files": {"../vision.onnx": ""}}, "not a plain file name"),
        ({"files": {}}, "does not list text.onnx, vision.onnx, tokenizer.json"),
        ({"files": []}, "'files' must be an object"),
    ],
)
def test_bad_manifests(copy, changes, message):
    edit(copy, **changes)
    with pytest.raises(BundleError, match=message) as caught:
        Bundle.load(copy)
    assert "\n" not in str(caught.value) and str(copy) in str(caught.value)


def test_not_a_bundle(tmp_path):
    with pytest.raises(BundleError, match="no such bundle"):
        Bundle.load(tmp_path / "nowhere")
    with pytest.raises(BundleError, match=r"has no manifest\.json"):
        Bundle.load(tmp_path)
    (tmp_path / MANIFEST).write_text("{")
    with pytest.raises(BundleError, match="cannot be read"):
        Bundle.load(tmp_path)
    (tmp_path / MANIFEST).write_text("[]")
    with pytest.raises(BundleError, match="does not hold an object"):
        Bundle.load(tmp_path)


def test_bundle_that_cannot_be_reached(copy):
    manifest, content = Bundle.load(copy).manifest, files(Bundle.load(copy))
    with locked(copy):
        with pytest.raises(BundleError, match=r"cannot be read .*Permission denied"):
            Bundle.load(copy)
        with pytest.raises(BundleError, match=r"cannot be written .*Permission denied"):
            write_bundle(copy, manifest, content)
    too_long = copy.with_name("n" * 300)
    with pytest.raises(BundleError, match=r"cannot be read .*File name too long"):
        Bundle.load(too_long)
    with pytest.raises(BundleError, match=r"cannot be written .*File name too long"):
        write_bundle(too_long, manifest, content)


def test_engine_that_may_not_be_read(copy):
    (copy / "vision.onnx").unlink()
    (copy / "vision.onnx").mkdir()
    with pytest.raises(BundleError, match=r"cannot be read .*vision\.onnx"):
        Bundle.load(copy)


def test_write_replaces_bundles_and_empty_folders_only(tiny_bundle, tmp_path):
    bundle = Bundle.load(tiny_bundle)
    (tmp_path / "out").mkdir()
    write_bundle(tmp_path / "out", bundle.manifest, files(bundle))
    content = {**files(bundle), "tokenizer.json": bundle.tokenizer}
    content.pop("positional.onnx")
    written = write_bundle(tmp_path / "out", replace(bundle.manifest, name="second"), content)
    assert Bundle.load(tmp_path / "out").manifest == written.manifest
    assert written.manifest.name == "second" and written.positional_engine is None
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(BundleError, match="is not a bundle"):
        write_bundle(tmp_path / "mine", bundle.manifest, files(bundle))
    assert [item.name for item in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_a_failed_write_leaves_the_old_bundle_and_nothing_else(tiny_bundle, tmp_path):
    bundle = Bundle.load(tiny_bundle)
    write_bundle(tmp_path / "out", bundle.manifest, files(bundle))
    with pytest.raises(BundleError, match="cannot be written"):
        write_bundle(tmp_path / "out", bundle.manifest, {**files(bundle), "vision.onnx": tmp_path / "absent.onnx"})
    with pytest.raises(BundleError, match=r"needs tokenizer\.json"):
        write_bundle(tmp_path / "out", bundle.manifest, {"text.onnx": b"", "vision.onnx": b""})
    assert Bundle.load(tmp_path / "out").manifest == bundle.manifest
    assert [item.name for item in tmp_path.iterdir()] == ["out"]


def test_untrained_bundles_say_so(make_tiny_bundle, tmp_path):
    assert "untrained" in make_tiny_bundle(tmp_path / "b", trained=False).warning


def test_no_embedded_bundle(monkeypatch):
    monkeypatch.setattr("humar_edge.bundle.DEFAULT_BUNDLE", "absent")
    with pytest.raises(BundleError, match="name one with --model"):
        default_bundle_path()
