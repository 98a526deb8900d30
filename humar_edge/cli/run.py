"""`humar-edge run`: find the person a prompt means in pictures, videos, cameras and streams."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from humar_edge.errors import ConfigError, PromptError


def _numbers(count: int) -> Any:
    def convert(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
        def one(text: str) -> tuple[float, ...]:
            try:
                numbers = tuple(float(part) for part in text.split(","))
            except ValueError:
                numbers = ()
            if len(numbers) != count:
                raise click.BadParameter(f"{text!r} is not {count} numbers separated by commas")
            return numbers

        if value is None:
            return None
        return [one(text) for text in value] if isinstance(value, tuple) else one(value)

    return convert


def _frame_size(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, int] | None:
    if value is None:
        return None
    match = re.fullmatch(r"([1-9][0-9]{0,5})[x,]([1-9][0-9]{0,5})", value)
    if not match:
        raise click.BadParameter(f"{value!r} is not WIDTHxHEIGHT in pixels, for example 640x480")
    return int(match[1]), int(match[2])


@click.command("run")
@click.option("--source", help="Video, picture, folder, glob, rtsp:// or http(s):// address, csi://N, - (raw bgr24).")
@click.option("--camera", type=click.IntRange(min=0), help="Number of a camera.")
@click.option("--text", multiple=True, help="Words that describe one person; repeat for several people.")
@click.option("--point", multiple=True, callback=_numbers(2), metavar="X,Y", help="A point on the person; repeatable.")
@click.option("--scribble", type=click.Path(path_type=Path), help="File with a line over the person: x,y rows or JSON.")
@click.option("--box", callback=_numbers(4), metavar="X1,Y1,X2,Y2", help="A box around the person.")
@click.option("--model", type=click.Path(path_type=Path), help="Bundle. [default: the embedded one]")
@click.option("--backend", help="tensorrt, openvino or onnxruntime. [default: the best available]")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads of the backend.")
@click.option("--threshold", type=click.FloatRange(0, 1), help="Score from which a person is found.")
@click.option("--output", multiple=True, help=".mp4, .webm, .jpg, a folder, mjpeg://HOST:PORT or none; repeatable.")
@click.option("--jsonl", metavar="FILE", help="Results as JSON lines; - for standard output.")
@click.option("--csv", "csv_file", metavar="FILE", help="Results as a table.")
@click.option("--coco", metavar="FILE", help="Results as COCO JSON.")
@click.option("--masks", is_flag=True, help="Also put masks (COCO RLE) into the JSON lines.")
@click.option("--show/--headless", default=None, help="Open a window. [default: for cameras without another output]")
@click.option("--max-frames", type=click.IntRange(min=1), help="Stop after this many frames.")
@click.option("--smooth/--no-smooth", default=None, help="Smooth keypoints. [default: except for pictures]")
@click.option(
    "--roi/--no-roi",
    default=False,
    help="Look closer around people found with confidence; words for places may mean another there.",
)
@click.option("--loop", is_flag=True, help="Start files again at their end.")
@click.option("--pipe-size", callback=_frame_size, metavar="WxH", help="Frame size of a raw pipe.")
@click.option("--json", "as_json", is_flag=True, help="Print the closing summary as JSON.")
def command(
    source: str | None,
    camera: int | None,
    text: tuple[str, ...],
    point: list[tuple[float, float]],
    scribble: Path | None,
    box: tuple[float, ...] | None,
    model: Path | None,
    backend: str | None,
    threads: int | None,
    threshold: float | None,
    output: tuple[str, ...],
    jsonl: str | None,
    csv_file: str | None,
    coco: str | None,
    masks: bool,
    show: bool | None,
    max_frames: int | None,
    smooth: bool | None,
    roi: bool,
    loop: bool,
    pipe_size: tuple[int, int] | None,
    as_json: bool,
) -> None:
    """Find the person a prompt means in pictures, videos, cameras and streams.

    \b
    humar-edge run --source clip.mp4 --text "the man in red" --output out.mp4
    humar-edge run --camera 0 --text "woman with a bag" --jsonl results.jsonl
    """
    if (source is None) == (camera is None):
        problem = "needs a source" if source is None else "takes one source"
        raise ConfigError(f"run {problem}: --camera NUMBER, or --source FILE, FOLDER or ADDRESS")
    if not (text or point or scribble or box):
        raise ConfigError('whom to look for? --text "the man in red", --point X,Y, --scribble FILE or --box')

    from rich.console import Console

    from humar_edge.bundle import Bundle, default_bundle_path
    from humar_edge.cli.run_session import Session, open_sinks, warnings_to
    from humar_edge.prompts import clean_text
    from humar_edge.runtime.predictor import Predictor
    from humar_edge.runtime.sources import open_source

    texts = [clean_text(words) for words in text]
    positional = _positional_prompts(point, scribble, box)
    spec: str | int = camera if camera is not None else str(source)
    messages = Console(stderr=True, highlight=False)
    # Standard output belongs to the data when data goes there.
    report = messages if as_json or jsonl == "-" else Console(highlight=False, soft_wrap=True)

    with warnings_to(messages), open_source(spec, loop=loop, max_frames=max_frames, pipe_size=pipe_size) as frames:
        bundle = Bundle.load(default_bundle_path() if model is None else model)
        with Predictor(bundle, backend, threads, threshold) as predictor:
            report.print(
                f"{bundle.manifest.name} on {predictor.backend} ({predictor.device}), source {frames.name}",
                markup=False,
            )
            prompts = [predictor.encode(words) for words in texts] + positional
            records = {"jsonl": jsonl, "csv": csv_file, "coco": coco}
            with open_sinks(frames, output, records, show=show, masks=masks) as sinks:
                session = Session(frames, predictor, prompts, sinks, smooth=smooth, roi=roi)
                stopped = session.run(messages)
            session.report(report, as_json=as_json)
    if stopped and not frames.live:
        raise SystemExit(130)


def _positional_prompts(
    points: list[tuple[float, float]], scribble: Path | None, box: tuple[float, ...] | None
) -> list[Any]:
    from humar_edge.prompts import box_prompt, point_prompt, scribble_prompt

    return [
        *([point_prompt(points)] if points else []),
        *([scribble_prompt(read_scribble(scribble))] if scribble else []),
        *([box_prompt(box)] if box else []),
    ]


def read_scribble(path: Path) -> list[Any]:
    """Points of a scribble file: a JSON list (nested lists are joined), or a row of x,y per line.

    Raises:
        PromptError: The file cannot be read or holds something else.
    """
    import json

    try:
        content = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PromptError(f"cannot read scribble {path}: {getattr(error, 'strerror', None) or error}") from error
    try:
        if content.lstrip().startswith("["):
            points: list[Any] = json.loads(content)
        else:
            rows = (line.replace(",", " ").split() for line in content.splitlines() if line.strip())
            points = [[float(x), float(y)] for x, y in rows]
        while points and isinstance(points[0], list) and points[0] and isinstance(points[0][0], list):
            points = [point for line in points for point in line]
    except (ValueError, TypeError, RecursionError) as error:
        raise PromptError(f"scribble {path} is not rows of x,y or a JSON list of points") from error
    return points
