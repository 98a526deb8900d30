"""From a network to a bundle: trace every engine, check it, reduce precision where asked, check again, pack."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from humar_edge import __version__
from humar_edge.bundle import TOKENIZER, Bundle, Manifest, write_bundle
from humar_edge.errors import ExportError
from humar_edge.export.engines import Engine
from humar_edge.export.parity import Difference, check_export
from humar_edge.export.source import Source
from humar_edge.export.to_onnx import to_onnx

if TYPE_CHECKING:
    import onnx

LICENCE = "Apache-2.0"
Say = Callable[[str], None]


@dataclass
class Exported:
    """One engine on its way into the bundle.

    Attributes:
        engine: What was traced.
        model: The graph.
        precision: fp32, fp16, int8 or the name of a plan.
        parity: What was compared, for the manifest.
    """

    engine: Engine
    model: onnx.ModelProto
    precision: str = "fp32"
    parity: dict[str, Any] = field(default_factory=dict)


def export_fp32(engines: Sequence[Engine], opset: int, deform_attn: str, say: Say) -> list[Exported]:
    """Trace engines in FP32 and compare each with PyTorch.

    Raises:
        ExportError: An engine cannot be exported or does not agree.
    """
    done = []
    for engine in engines:
        start = time.perf_counter()
        model = to_onnx(engine, opset, deform_attn)
        differences = check_export(engine, model)
        size = len(model.SerializeToString()) / 1e6
        say(f"{engine.name}: {len(model.graph.node)} nodes, {size:.1f} MB, {time.perf_counter() - start:.0f} s")
        say_differences(differences, say)
        record = {"reference": "PyTorch", "runtime": "onnxruntime", "inputs": len(engine.samples)}
        done.append(Exported(engine, model, parity={"fp32": {**record, "outputs": by_output(differences)}}))
    return done


def by_output(differences: Sequence[Difference]) -> dict[str, Any]:
    """Differences for the manifest."""
    return {difference.output: difference.to_dict() for difference in differences}


def say_differences(differences: Sequence[Difference], say: Say) -> None:
    """Print one line per output."""
    for difference in differences:
        say(f"  {difference}")


def pack(
    source: Source,
    exported: Sequence[Exported],
    output: Path,
    *,
    name: str | None = None,
    metrics: dict[str, Any] | None = None,
    provenance: dict[str, Any] | None = None,
    notes: Sequence[str] = (),
    extra: Mapping[str, bytes] | None = None,
) -> Bundle:
    """Write the bundle.

    Args:
        source: The network.
        exported: Its engines.
        output: Folder of the bundle.
        name: Name of the bundle; default: the combination.
        metrics: Figures measured during the export.
        provenance: What is to be said about the export itself.
        notes: Free text.
        extra: More files, by name.

    Raises:
        BundleError: The folder cannot be written.
        ExportError: A graph is too large for one ONNX file.
    """
    combo, state = source.combo, source.state
    files: dict[str, Path | bytes] = {**(extra or {})}
    for item in exported:
        try:
            files[item.engine.file] = item.model.SerializeToString()
        except ValueError as error:
            raise ExportError(f"{item.engine.name} engine: larger than 2 GB, the limit of one ONNX file") from error
    files[TOKENIZER] = source.encoder.tokenizer.to_str().encode()
    manifest = Manifest(
        name=name or source.combo_name,
        combo=source.combo_name,
        components={
            "transformer_type": combo.transformer_type,
            "text_encoder_type": combo.text_encoder_type,
            "backbone": combo.backbone,
        },
        input_size=source.input_size,
        token_length=source.token_length,
        width=source.width,
        precision={item.engine.name: item.precision for item in exported},
        trained=source.trained,
        thresholds={"score": float(state.get("thresholds", {}).get("score", 0.5))},
        metrics={**state.get("metrics", {}), **(metrics or {})},
        provenance={
            "program": f"humar-edge {__version__}",
            **({key: state[key] for key in ("step", "elapsed", "recipe", "data") if key in state}),
            **state.get("provenance", {}),
            **(provenance or {}),
        },
        licence=str(state.get("licence", LICENCE)),
        parity={item.engine.name: item.parity for item in exported},
        notes=[*notes] if source.trained else ["untrained: random weights, for latency work only", *notes],
    )
    return write_bundle(output, manifest, files)
