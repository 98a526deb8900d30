"""`humar-edge info`: what is inside a combination or a bundle."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from humar_edge.cli.list_ import parse_size, require_torch

if TYPE_CHECKING:
    from humar_edge.bundle import Bundle

Tensors = dict[str, tuple[str, list[int]]]

LINE = 80
"""Columns of a line, where there is room for it."""

TEXT_BYTES = {"FP32": 4, "FP16": 2, "INT8": 1}
"""Bytes per parameter of the text encoder when an engine has this precision."""


def contract(width: int, size: tuple[int, int], tokens: int, positional: bool) -> dict[str, dict[str, Tensors]]:
    """Inputs and outputs of the engines: name -> (type, shape).

    Args:
        width: D, width of the prompt.
        size: Height and width of the canvas.
        tokens: T, tokens of a prompt.
        positional: Whether there is an engine for points.
    """
    height, across = size
    words: Tensors = {"text_tokens": ("float32", [1, tokens, width])}
    sentence: Tensors = {"sentence": ("float32", [1, width])}
    real: Tensors = {"text_mask": ("int64", [1, tokens])}
    image: Tensors = {"image": ("uint8", [1, height, across, 3])}
    person: Tensors = {
        "score": ("float32", [1]),
        "box": ("float32", [1, 4]),
        "keypoints": ("float32", [1, 17, 3]),
        "mask": ("float32", [1, height // 4, across // 4]),
    }
    ids: Tensors = {"input_ids": ("int64", [1, tokens]), "attention_mask": ("int64", [1, tokens])}
    engines: dict[str, dict[str, Tensors]] = {
        "text": {"inputs": ids, "outputs": {**words, **sentence}},
        "vision": {"inputs": {**image, **words, **real, **sentence}, "outputs": person},
    }
    if positional:
        engines["positional"] = {"inputs": {**image, "points": ("float32", [1, 12, 2])}, "outputs": person}
    return engines


def describe_combo(name: str, replaced: dict[str, str | None], imgsz: str | None) -> dict[str, Any]:
    """Everything `info` shows about a combination."""
    from humar_edge.combos import resolve

    combo = resolve(name, **replaced)
    require_torch()
    from humar_edge.models.summary import build, check_input_size, layers, measure, memory_estimate
    from humar_edge.models.tokenizer import TOKENS

    size = parse_size(imgsz) if imgsz else combo.input_size
    check_input_size(size)
    network = build(combo)
    cost = measure(network, size)
    parts = ("transformer_type", "text_encoder_type", "backbone")
    return {
        "combo": name,
        "components": {part: getattr(combo, part) for part in parts},
        "input_size": list(size),
        "parameters": {**asdict(network.parameters), "total": network.parameters.total},
        "gmacs": {"backbone": cost.backbone_macs / 1e9, "vision": cost.vision_macs / 1e9},
        "contract": contract(network.width, size, TOKENS, positional=True),
        "memory_bytes": memory_estimate(network, cost),
        "layers": [asdict(layer) for layer in layers(network, size)],
    }


def describe_bundle(path: Path) -> dict[str, Any]:
    """Everything `info` shows about a bundle; its hashes are verified."""
    from humar_edge.bundle import Bundle

    bundle = Bundle.load(path)
    manifest = bundle.manifest
    found = asdict(manifest)
    found["contract"] = contract(
        manifest.width, manifest.input_size, manifest.token_length, bundle.positional_engine is not None
    )
    found["file_bytes"] = {name: (bundle.path / name).stat().st_size for name in manifest.files}
    found["memory_bytes"] = bundle_memory(bundle)
    return found


def bundle_memory(bundle: Bundle) -> dict[str, dict[str, int]]:
    """Estimated bytes of each engine from its graph; one whose graph cannot be read is left out, with a warning."""
    from humar_edge.errors import BackendError
    from humar_edge.runtime.memory import estimate_memory

    engines = {"text": bundle.text_engine, "vision": bundle.vision_engine, "positional": bundle.positional_engine}
    found = {}
    for name, path in engines.items():
        if path is not None:
            try:
                found[name] = estimate_memory(path).to_dict()
            except BackendError as error:
                click.echo(f"warning: {error}", err=True)
    return found


def combo_needs(found: dict[str, Any]) -> dict[str, int]:
    """Estimated bytes of a combination at each precision: its vision engine and the weights of its text encoder."""
    text = found["parameters"]["text"]
    return {name: sizes["total"] + text * TEXT_BYTES[name] for name, sizes in found["memory_bytes"].items()}


def bundle_needs(found: dict[str, Any]) -> dict[str, int]:
    """Bytes of a bundle's engines, measured where that was asked for; empty when a graph could not be read."""
    if measured := found.get("gpu_memory_bytes"):
        return {"bundle": max(measured["device_total"], measured["device_peak"])}
    memory = found["memory_bytes"]
    return {"bundle": sum(sizes["total"] for sizes in memory.values())} if set(memory) == set(found["contract"]) else {}


def gpu_memory(path: Path) -> dict[str, int]:
    """Measured bytes of text and vision engine on the GPU; builds the engines that are not in the cache.

    Raises:
        BackendError: TensorRT or a GPU is missing.
    """
    from humar_edge.bundle import Bundle
    from humar_edge.runtime.bench.subjects import open_bundle

    subject = open_bundle(Bundle.load(path), "tensorrt")
    try:
        return subject.device_memory()
    finally:
        subject.close()


def verdicts(needs: dict[str, int], limit: int, estimate: bool) -> dict[str, dict[str, Any]]:
    """Whether each need fits into a GPU with `limit` bytes, with a line of text."""
    from humar_edge.runtime.memory import Verdict

    found = {name: Verdict(limit, need, estimate=estimate) for name, need in needs.items()}
    return {name: {**verdict.to_dict(), "text": str(verdict)} for name, verdict in found.items()}


def _print_contract(engines: dict[str, dict[str, Tensors]]) -> None:
    for engine, sides in engines.items():
        click.echo(f"\n{engine} engine")
        for side, tensors in sides.items():
            for name, (kind, shape) in tensors.items():
                click.echo(f"  {side[:-1]:<7} {name:<15} {kind:<8} {shape}")


def _print_combo(found: dict[str, Any]) -> None:
    click.echo(f"{found['combo']}: {' + '.join(found['components'].values())}")
    counted = ", ".join(f"{name} {value / 1e6:.2f}M" for name, value in found["parameters"].items())
    click.echo(f"parameters: {counted}")
    height, width = found["input_size"]
    macs = found["gmacs"]
    click.echo(
        f"vision network at {height}x{width}: {macs['vision']:.2f} GMACs, {macs['backbone']:.2f} in the backbone"
    )
    _print_contract(found["contract"])
    click.echo("\nestimated memory of the vision engine (MB): weights + largest set of results")
    for precision, sizes in found["memory_bytes"].items():
        weights, activations, total = (sizes[key] / 1e6 for key in ("weights", "activations", "total"))
        click.echo(f"  {precision}  {weights:8.1f} + {activations:8.1f} = {total:8.1f}")
    click.echo("\nlayers, parameters, and shapes of the outputs without the batch")
    names, kinds = (max((len(layer[key]) for layer in found["layers"]), default=0) for key in ("name", "kind"))
    for layer in found["layers"]:
        line = f"  {layer['name']:<{names}} {layer['kind']:<{kinds}} {layer['parameters']:>10,}"
        shapes = " ".join("x".join(map(str, shape[1:] or shape)) for shape in layer["outputs"][:4])
        fits = len(line) + len(shapes) < LINE - 1
        click.echo(f"{line}  {shapes}".rstrip() if fits else f"{line}\n{shapes:>{LINE}}")


def _print_bundle(found: dict[str, Any]) -> None:
    click.echo(f"{found['name']}: {' + '.join(found['components'].values())} (combination {found['combo']})")
    click.echo(f"trained: {'yes' if found['trained'] else 'no, random weights'}; licence: {found['licence'] or 'none'}")
    click.echo(f"precision: {', '.join(f'{engine} {value}' for engine, value in found['precision'].items())}")
    for name, size in found["file_bytes"].items():
        click.echo(f"  {name:<18} {size / 1e6:9.2f} MB  sha256 {found['files'][name][:12]}")
    _print_contract(found["contract"])
    click.echo("\nestimated memory (MB): weights + largest set of intermediate results + inputs and outputs")
    for engine, sizes in found["memory_bytes"].items():
        weights, activations, io, total = (sizes[key] / 1e6 for key in ("weights", "activations", "io", "total"))
        click.echo(f"  {engine:<10} {weights:8.1f} + {activations:8.1f} + {io:6.1f} = {total:8.1f}")
    if measured := found.get("gpu_memory_bytes"):
        parts = ", ".join(f"{name.replace('_', ' ')} {size / 1e6:.1f}" for name, size in measured.items())
        click.echo(f"\nmeasured memory with TensorRT (MB): {parts}")
    for title in ("thresholds", "metrics", "parity", "provenance"):
        if found[title]:
            click.echo(f"\n{title}: {json.dumps(found[title], indent=2)}")


@click.command()
@click.argument("bundle", required=False, type=click.Path(path_type=Path))
@click.option("--model", type=click.Path(path_type=Path), help="The bundle, as for the other verbs.")
@click.option("--combo", metavar="NAME", help="A combination of `humar-edge list` (needs PyTorch).")
@click.option("--transformer-type", metavar="NAME", help="Replaces the combination's transformer.")
@click.option("--text-encoder-type", metavar="NAME", help="Replaces its text encoder.")
@click.option("--backbone", metavar="NAME", help="Replaces its backbone.")
@click.option("--imgsz", metavar="SIZE", help="640 or HEIGHTxWIDTH. [default: the combination's]")
@click.option("--gpu", is_flag=True, help="Load a bundle's engines with TensorRT and measure their memory.")
@click.option("--vram", metavar="SIZE", help="Say whether it fits into a GPU's memory: 4G, 6G, 512M.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    bundle: Path | None,
    model: Path | None,
    combo: str | None,
    transformer_type: str | None,
    text_encoder_type: str | None,
    backbone: str | None,
    imgsz: str | None,
    gpu: bool,
    vram: str | None,
    as_json: bool,
) -> None:
    """Layers, inputs and outputs, and memory of a combination, or the contents of a BUNDLE.

    Without either it is about the embedded bundle.
    """
    if [bundle, model, combo].count(None) < 2:
        raise click.UsageError("name either a bundle's folder or --combo NAME")
    bundle = bundle or model
    if bundle is None and combo is None:
        from humar_edge.bundle import default_bundle_path

        bundle = default_bundle_path()
    limit = None
    if vram:
        from humar_edge.runtime.memory import parse_vram

        limit = parse_vram(vram)
    replaced = {
        "transformer_type": transformer_type,
        "text_encoder_type": text_encoder_type,
        "backbone": backbone,
    }
    if bundle is not None:
        if imgsz or any(replaced.values()):
            raise click.UsageError("a bundle's components and size are fixed; use these options with --combo")
        found, show, needs = describe_bundle(bundle), _print_bundle, bundle_needs
        if gpu:
            found["gpu_memory_bytes"] = gpu_memory(bundle)
    else:
        if gpu:
            raise click.UsageError("--gpu loads a bundle's engines; export the combination first")
        found, show, needs = describe_combo(str(combo), replaced, imgsz), _print_combo, combo_needs
    if limit:
        found["vram"] = verdicts(needs(found), limit, "gpu_memory_bytes" not in found)
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    show(found)
    if limit:
        for name, verdict in found["vram"].items():
            click.echo(f"{name} {verdict['text']}")
        if not found["vram"]:
            click.echo("the memory is not known, so it cannot be held against --vram")
