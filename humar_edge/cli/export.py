"""`humar-edge export`: pack a trained checkpoint as a bundle of ONNX engines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from humar_edge.cli.types import Finite


@click.command("export")
@click.option("--combo", help="Combination; see humar-edge list.")
@click.option("--transformer-type", help="Replace the combination's transformer.")
@click.option("--text-encoder-type", help="Replace the text encoder.")
@click.option("--backbone", help="Replace the backbone.")
@click.option("--checkpoint", type=click.Path(path_type=Path), help="Folder of humar-edge train, or a UniPHD file.")
@click.option("--ema", is_flag=True, help="Take the averaged copy of a UniPHD file.")
@click.option("--text-source", help="Folder of the text encoder, when it is neither installed nor on the hub.")
@click.option("--untrained", is_flag=True, help="Random weights, for latency work; the bundle says so.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="Folder of the bundle [default: bundles/NAME]; with --model, of engine files.",
)
@click.option("--force", is_flag=True, help="Replace an existing bundle.")
@click.option("--name", help="Name of the bundle. [default: the combination]")
@click.option("--imgsz", help="H or H,W, multiples of 32. [default: as trained]")
@click.option("--prompts", default="text", show_default=True, help="text, or text,point for the positional engine too.")
@click.option("--split", is_flag=True, help="Also the vision engine in two parts, for several prompts on one picture.")
@click.option("--opset", default=17, show_default=True, help="ONNX opset, 17 to 19.")
@click.option(
    "--deform-attn", type=click.Choice(("gather", "gridsample", "plugin")), default="gather", show_default=True
)
@click.option(
    "--precision",
    default="fp32",
    show_default=True,
    help="fp32, fp16, int8, int8-fp16, a plan (JSON), or auto (auto-fp16): search the fastest plan within --max-drop.",
)
@click.option("--text-precision", type=click.Choice(("fp32", "fp16", "int8")), default="fp32", show_default=True)
@click.option(
    "--calibration",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Data set in RefHuman format to calibrate INT8; of several, as many pictures of each.",
)
@click.option("--calibration-images", type=click.IntRange(min=8), default=256, show_default=True)
@click.option(
    "--calibration-method",
    type=click.Choice(("minmax", "entropy", "percentile")),
    default="percentile",
    show_default=True,
    help="How INT8 ranges follow from what was seen.",
)
@click.option("--calibration-cache", type=click.Path(path_type=Path), help="Folder that keeps the ranges.")
@click.option("--val-data", type=click.Path(path_type=Path), help="Data set whose val split measures the bundle.")
@click.option("--val-limit", type=click.IntRange(min=1), default=500, show_default=True, help="Prompts to measure.")
@click.option(
    "--max-drop",
    type=Finite(),
    default=0.01,
    show_default=True,
    help="Loss of OKS-AP, Acc@0.5 or mIoU that reduced precision may cost.",
)
@click.option(
    "--unverified", is_flag=True, help="Reduced precision without 200 prompts to compare; the bundle says so."
)
@click.option("--report", type=click.Path(path_type=Path), help="Folder for a page: reduced precision against FP32.")
@click.option("--vocabulary", type=click.IntRange(min=100), help="Keep this many words of the text vocabulary.")
@click.option(
    "--captions",
    type=click.Path(path_type=Path),
    help="Data set, or file of lines, whose words stay in a smaller vocabulary. [default: the calibration data]",
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(("onnx", "engine")),
    default="onnx",
    show_default=True,
    help="engine: also build the TensorRT engines, for the GPU of this machine.",
)
@click.option("--triton", type=click.Path(path_type=Path), help="Folder for a model repository of NVIDIA Triton.")
@click.option("--model", type=click.Path(path_type=Path), help="Take this bundle for --format engine or --triton.")
@click.option("--triton-accelerator", type=click.Choice(("tensorrt", "none")), default="tensorrt", show_default=True)
@click.option(
    "--triton-batch", type=click.IntRange(min=1), default=8, show_default=True, help="Largest dynamic batch; 1: none."
)
def command(
    format_: str, triton: Path | None, model: Path | None, triton_accelerator: str, triton_batch: int, **options: Any
) -> None:
    """Export a checkpoint as a bundle: text and vision engines as ONNX, checked against PyTorch.

    Every reduced precision is compared with FP32 on --val-data; the export fails when the comparison does.

    \b
    humar-edge export --combo edge-lite --checkpoint runs/last --output bundle --triton repository
    humar-edge export --model bundle --triton repository
    humar-edge export --model bundle --format engine
    """
    from humar_edge.bundle import Bundle
    from humar_edge.cli.progress import progress_bar
    from humar_edge.errors import ConfigError, MissingExtraError

    wants_engines = format_ == "engine"
    if triton is not None:
        from humar_edge.export.triton import require_empty

        require_empty(triton)
    if model is not None:
        if options["combo"] or not (triton or wants_engines) or (options["output"] and not wants_engines):
            raise ConfigError(
                "--model goes with --format engine [--output FOLDER] or --triton DIR; a bundle is made with --combo"
            )
        if given := [f"--{name.replace('_', '-')}" for name in options if name != "output" and _is_given(name)]:
            raise ConfigError(f"{', '.join(given)}: only with --combo; --model takes a bundle as it is")
    elif options["combo"] is None:
        raise ConfigError("export needs --combo, or --model with --format engine or --triton")
    else:
        options["output"] = options["output"] or Path("bundles") / (options["name"] or options["combo"])
    folder = None if model is None else options["output"]
    if wants_engines:
        from humar_edge.runtime.tensorrt.bundle_engines import require_builder

        require_builder(folder)
    if model is not None:
        bundle = Bundle.load(model)
    else:
        try:
            from humar_edge.export.session import export
        except ModuleNotFoundError as error:
            raise MissingExtraError(str(error.name), "export") from error
        bundle = export(say=click.echo, bar=progress_bar, **options)
    if triton is not None:
        _write_triton(bundle, triton, triton_accelerator, triton_batch)
    if wants_engines:
        _build_engines(bundle, folder)


def _is_given(name: str) -> bool:
    """Whether an option stands on the command line."""
    source = click.get_current_context().get_parameter_source(name)
    return source is click.core.ParameterSource.COMMANDLINE


def _build_engines(bundle: Any, folder: Path | None) -> None:
    from humar_edge.runtime.tensorrt.bundle_engines import build_engines

    for name, engine in build_engines(bundle, folder):
        origin = "built" if engine.built else "taken from the cache"
        click.echo(f"{name}: {len(engine.data) / 1e6:.1f} MB, {origin}: {engine.path or 'not kept'}")
    click.echo(
        f"next: humar-edge run --model {bundle.path} --backend tensorrt --source PICTURE --text 'the woman in red'"
    )


def _write_triton(bundle: Any, folder: Path, accelerator: str, max_batch: int) -> None:
    from humar_edge.errors import MissingExtraError

    try:
        from humar_edge.export.triton import write_repository

        written = write_repository(folder, bundle, accelerator=accelerator, max_batch=max_batch)
    except ModuleNotFoundError as error:
        raise MissingExtraError(str(error.name), "export") from error
    click.echo(f"wrote {written.path}: {', '.join(written.models)}")
    if written.unbatched and max_batch > 1:
        click.echo(f"one request at a time, their graphs take no batches: {', '.join(written.unbatched)}")
    click.echo(f"next: tritonserver --model-repository={written.path}")
