"""`humar-edge train`: train a light combination on RefHuman-format data."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click


@click.command()
@click.option("--combo", default="edge-lite", show_default=True, help="Combination to train; see humar-edge list.")
@click.option("--transformer-type", help="Replace the combination's transformer.")
@click.option("--text-encoder-type", help="Replace the text encoder.")
@click.option("--backbone", help="Replace the backbone.")
@click.option(
    "--data", "folders", required=True, multiple=True, type=click.Path(path_type=Path), help="Data set; repeatable."
)
@click.option("--output", required=True, type=click.Path(path_type=Path), help="Folder of the run.")
@click.option("--imgsz", default=384, show_default=True, help="Side of the square input, divisible by 32.")
@click.option("--batch", default=8, show_default=True, help="Pictures per step.")
@click.option("--prompts", default=5, show_default=True, help="Prompts per picture at most.")
@click.option("--steps", default=20_000, show_default=True, help="End of the schedule in steps.")
@click.option("--minutes", default=math.inf, help="End of the schedule in minutes, if that is earlier.")
@click.option("--rate", default=1.5e-3, show_default=True, help="Learning rate of the transformer.")
@click.option("--backbone-rate", default=4e-4, show_default=True, help="Learning rate of the backbone.")
@click.option("--warmup", default=200, show_default=True, help="Steps of warm-up.")
@click.option("--freeze-stem/--train-stem", default=False, help="Keep EfficientNet-Lite0 up to stride 4 as it is.")
@click.option(
    "--fillers", type=click.Path(path_type=Path), help="Folder of pictures without people, to surround small ones."
)
@click.option("--init", type=click.Path(path_type=Path), help="Start from the weights of this checkpoint.")
@click.option("--resume/--no-resume", default=True, help="Continue OUTPUT/last if it exists.")
@click.option("--pretrained/--from-scratch", default=True, help="ImageNet weights for the backbone.")
@click.option("--backbone-weights", type=click.Path(path_type=Path), help="File with backbone weights.")
@click.option("--bf16/--no-bf16", default=False, help="Mixed precision.")
@click.option("--device", default=None, help="cpu or cuda; default: a GPU if there is one.")
@click.option("--threads", type=int, help="CPU threads.")
@click.option("--val-every", default=500, show_default=True, help="Steps between validations (0: only at the end).")
@click.option("--val-limit", default=300, show_default=True, help="Validation prompts.")
@click.option("--seed", default=0, show_default=True)
def command(**options: Any) -> None:
    """Train a light combination on RefHuman-format data; Ctrl-C saves and exits."""
    from humar_edge.errors import MissingExtraError

    try:
        from humar_edge.training.session import train
    except ModuleNotFoundError as error:
        raise MissingExtraError(str(error.name), "train") from error
    train(**options)
