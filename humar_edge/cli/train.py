"""`humar-edge train`: train a combination on RefHuman-format data."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click

PATH = click.Path(path_type=Path)
STOPPED_EXIT_CODE = 130


@click.command()
@click.option("--combo", default="edge-lite", show_default=True, help="Combination to train; see humar-edge list.")
@click.option("--transformer-type", help="Replace the combination's transformer.")
@click.option("--text-encoder-type", help="Replace the text encoder.")
@click.option("--backbone", help="Replace the backbone.")
@click.option("--data", "folders", required=True, multiple=True, type=PATH, help="Data set; repeatable.")
@click.option("--output", required=True, type=PATH, help="Folder of the run.")
@click.option("--imgsz", default=384, show_default=True, help="Side of the square input, divisible by 32.")
@click.option("--recipe", default="auto", show_default=True, help="auto (by model), short, light, large or paper.")
@click.option("--batch", type=int, help="Pictures per process and pass; default: by GPU memory and model, 8 on a CPU.")
@click.option("--target-batch", type=int, help="Pictures per step, reached by several passes; default: the recipe's.")
@click.option("--accumulate", type=int, help="Passes per step, instead of --target-batch.")
@click.option("--prompts", type=int, help="Prompts per picture at most; default 5, with the original transformer 1.")
@click.option("--prompt-mix", help="Weights of the kinds of prompts, e.g. text=8,scribble=1,point=1.")
@click.option("--negatives", type=float, help="Share of prompts for absent people, at most (0.25).")
@click.option("--augmentation", help="strong (default) or mild.")
@click.option("--foreign-negatives", "foreign", type=float, help="Share of pictures with a foreign caption (0).")
@click.option("--paste", type=float, help="Share of pictures with a person of another picture pasted in (0).")
@click.option("--epochs", type=float, help="End of the schedule in epochs; default: the recipe's.")
@click.option("--steps", type=int, help="End of the schedule in steps, instead of epochs (20000 in recipe short).")
@click.option("--minutes", default=math.inf, help="End of the schedule in minutes, if that is earlier.")
@click.option("--rate", type=float, help="Learning rate of the transformer; default: the recipe's.")
@click.option("--backbone-rate", type=float, help="Learning rate of the backbone.")
@click.option("--text-rate", type=float, help="Learning rate of the text encoder.")
@click.option("--decay", type=float, help="Weight decay (none on norms, biases, embeddings).")
@click.option("--dropout", type=float, help="Dropout of the projected prompt.")
@click.option("--warmup", type=int, help="Steps of warm-up.")
@click.option("--schedule", help="cosine or step.")
@click.option("--clip", type=float, help="Largest gradient norm.")
@click.option("--average", type=float, help="Decay of the moving average of the weights.")
@click.option("--decoded", type=int, help="People per pass whose keypoints and mask are decoded.")
@click.option(
    "--attribute-weight",
    type=float,
    help="Factor of the loss of naming what people wear, where the data say it; 0 turns it off (2.5).",
)
@click.option("--select-weight", type=float, help="Factor of the loss of choosing the person (1).")
@click.option("--freeze-stem/--train-stem", default=False, help="Keep EfficientNet-Lite0 up to stride 4 as it is.")
@click.option("--only-choice", is_flag=True, help="Train what chooses the person; all that sees and describes stays.")
@click.option("--fixed-norms", is_flag=True, help="Batch norms keep their statistics.")
@click.option("--train-text/--freeze-text", default=None, help="Train the text encoder; default: tite and original do.")
@click.option("--text-source", type=PATH, help="Folder of the text encoder to start from.")
@click.option("--teacher", type=PATH, help="Learn from this checkpoint of any combination too.")
@click.option("--teacher-weight", default=1.0, show_default=True, help="Factor of the teacher's losses.")
@click.option("--fillers", type=PATH, help="Folder of pictures without people, to surround small ones.")
@click.option("--init", type=PATH, help="Start from the weights of this checkpoint.")
@click.option("--resume/--no-resume", default=True, help="Continue OUTPUT/last if it exists.")
@click.option("--pretrained/--from-scratch", default=True, help="ImageNet weights for the backbone.")
@click.option("--backbone-weights", type=PATH, help="File with backbone weights.")
@click.option("--precision", type=click.Choice(["fp32", "bf16", "fp16"]), help="Default: bf16 on a GPU, else fp32.")
@click.option("--bf16/--no-bf16", default=None, help="The same as --precision bf16 or fp32.")
@click.option("--device", default=None, help="cpu or cuda; default: a GPU if there is one.")
@click.option("--threads", type=int, help="CPU threads.")
@click.option("--workers", type=int, help="Processes that prepare pictures; default: a thread.")
@click.option("--save-every", type=int, help="Steps between checkpoints (200).")
@click.option("--keep", type=int, help="Checkpoints to keep besides the best: OUTPUT/last and earlier ones as step-N.")
@click.option("--val-every", default=500, show_default=True, help="Steps between validations (0: only at the end).")
@click.option("--val-limit", default=300, show_default=True, help="Validation prompts.")
@click.option("--tensorboard/--no-tensorboard", default=True, help="Write OUTPUT/tensorboard.")
@click.option("--seed", default=0, show_default=True)
def command(**options: Any) -> None:
    """Train a combination on RefHuman-format data.

    Ctrl-C and SIGTERM save and exit with code 130; the same command continues. Several GPUs: accelerate launch
    --multi_gpu --num_processes N -m humar_edge train ...
    """
    from humar_edge.errors import MissingExtraError

    try:
        from humar_edge.training.session import train
    except ModuleNotFoundError as error:
        raise MissingExtraError(str(error.name), "train") from error
    if train(**options) is not None:
        raise SystemExit(STOPPED_EXIT_CODE)
