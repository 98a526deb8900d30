"""`humar-edge calibrate`: fit the presence score of a checkpoint to held-out prompts."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command()
@click.option("--checkpoint", required=True, type=click.Path(path_type=Path), help="Folder of humar-edge train.")
@click.option("--data", required=True, type=click.Path(path_type=Path), help="RefHuman-format data with absent people.")
@click.option("--split", default="val", show_default=True)
@click.option("--output", required=True, type=click.Path(path_type=Path), help="Checkpoint folder to write.")
@click.option("--imgsz", type=int, help="Side of the square input it will be used at. [default: as trained]")
@click.option("--limit", default=500, show_default=True, type=click.IntRange(min=2), help="Prompts to use.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    checkpoint: Path, data: Path, split: str, output: Path, imgsz: int | None, limit: int, as_json: bool
) -> None:
    """Fit the presence score (Platt scaling) and its threshold on held-out prompts of present and absent people."""
    from humar_edge.errors import ConfigError, MissingExtraError

    if output.exists():
        raise ConfigError(f"{output} exists; choose another --output")
    if imgsz is not None and (imgsz <= 0 or imgsz % 32):
        raise ConfigError(f"--imgsz {imgsz} is not divisible by 32")
    try:
        from humar_edge.training.presence import recalibrate
    except ModuleNotFoundError as error:
        raise MissingExtraError(str(error.name), "train") from error
    fit = recalibrate(checkpoint, data, output, split=split, side=imgsz, limit=limit)
    if as_json:
        click.echo(json.dumps(fit._asdict()))
        return
    click.echo(f"scale {fit.scale:.3f}, shift {fit.shift:.3f}, threshold {fit.threshold:.3f} (F1 {fit.f1:.3f})")
    click.echo(f"next: humar-edge export --combo NAME --checkpoint {output} --output BUNDLE")
