"""`humar-edge distill`: other encoders for a trained network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

PATH = click.Path(path_type=Path)
ABOVE_ZERO, ZERO_OR_MORE, ONE_OR_MORE = click.FloatRange(0, min_open=True), click.FloatRange(0), click.IntRange(1)
STOPPED_EXIT_CODE = 130


@click.command()
@click.option("--teacher", required=True, type=PATH, help="Checkpoint of a trained light network.")
@click.option("--combo", default="ultra-light", show_default=True, help="The student; see humar-edge list.")
@click.option("--transformer-type", help="Replace the combination's transformer.")
@click.option("--text-encoder-type", help="Replace the text encoder.")
@click.option("--backbone", help="Replace the backbone.")
@click.option("--data", "folders", required=True, multiple=True, type=PATH, help="Data set; repeatable.")
@click.option("--output", required=True, type=PATH, help="Folder of the run.")
@click.option("--imgsz", type=int, help="Side of the square input, divisible by 32; default: the teacher's.")
@click.option("--text-minutes", type=ABOVE_ZERO, default=12.0, show_default=True, help="For the text encoder.")
@click.option("--vision-minutes", type=ABOVE_ZERO, default=30.0, show_default=True, help="For backbone and neck.")
@click.option(
    "--joint-minutes",
    type=ZERO_OR_MORE,
    default=15.0,
    show_default=True,
    help="For all that sees, with prompts; 0: not.",
)
@click.option("--text-steps", type=ONE_OR_MORE, help="At most so many steps.")
@click.option("--vision-steps", type=ONE_OR_MORE, help="At most so many steps.")
@click.option("--joint-steps", type=ONE_OR_MORE, help="At most so many steps.")
@click.option("--batch", default=8, show_default=True, help="Pictures per step.")
@click.option("--prompts", default=3, show_default=True, help="Prompts per picture at most.")
@click.option("--augmentation", help="mild (default) or strong.")
@click.option("--fillers", type=PATH, help="Folder of pictures without people, to surround small ones.")
@click.option("--pretrained/--from-scratch", default=False, help="Published weights to start from (downloaded).")
@click.option("--text-source", type=PATH, help="Folder of the text encoder to start from.")
@click.option("--backbone-weights", type=PATH, help="File with backbone weights to start from.")
@click.option("--resume/--no-resume", default=True, help="Continue what OUTPUT holds.")
@click.option("--precision", type=click.Choice(["fp32", "bf16", "fp16"]), help="Default: bf16 on a GPU, else fp32.")
@click.option("--device", default=None, help="cpu or cuda; default: a GPU if there is one.")
@click.option("--threads", type=int, help="CPU threads.")
@click.option("--workers", default=0, show_default=True, help="Processes that prepare pictures; 0: a thread.")
@click.option("--save-every", default=200, show_default=True, help="Steps between checkpoints.")
@click.option("--val-limit", default=300, show_default=True, help="Validation prompts.")
@click.option("--seed", default=0, show_default=True)
def command(**options: Any) -> None:
    """Teach another combination of the same transformer what a trained network knows.

    The parts that depend on the prompt are copied; a new text encoder learns the teacher's words, a new backbone its
    feature maps, and then both are fine-tuned together. Ctrl-C and SIGTERM save; the same command continues.
    """
    from humar_edge.errors import MissingExtraError

    try:
        from humar_edge.training.distill import distill
    except ModuleNotFoundError as error:
        raise MissingExtraError(str(error.name), "train") from error
    if distill(**options) is not None:
        raise SystemExit(STOPPED_EXIT_CODE)
