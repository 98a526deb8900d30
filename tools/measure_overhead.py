"""What `humar-edge run` takes on top of the network: a 720p video through the pipeline against inference alone.

    python tools/measure_overhead.py
    python tools/measure_overhead.py --video clip720.mp4 --threads 1

Both take turns, A B, B A. `elapsed` is the time per frame by the clock, with reading, preprocessing, postprocessing
and tracking in other threads, which need a core besides those of `--threads`. `processor` is all processor time,
whichever thread used it: what one core would need. Medians over the rounds, and their 10th and 90th percentiles.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from humar_edge.bundle import Bundle, default_bundle_path
from humar_edge.prompts import TextPrompt
from humar_edge.runtime.pipeline import Pipeline
from humar_edge.runtime.predictor import Predictor
from humar_edge.runtime.sources import open_source

DEMO = Path(__file__).resolve().parent.parent / "humar_edge" / "assets" / "demo.mp4"
SIZE, FRAMES = (1280, 720), 48
PROMPT = "the person on the right"


def enlarge(video: Path) -> None:
    """The beginning of the demo clip as a VP9 video of 1280 x 720."""
    capture = cv2.VideoCapture(str(DEMO))
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"vp09"), 24, SIZE)
    for _ in range(FRAMES):
        image = capture.read()[1]
        writer.write(cv2.resize(image[30:390], SIZE, interpolation=cv2.INTER_CUBIC))
    writer.release()


def timed(work: Callable[[], None], count: int) -> np.ndarray:
    """Milliseconds per frame: by the clock, and of the processor."""
    before = time.perf_counter(), time.process_time()
    work()
    return (np.array([time.perf_counter(), time.process_time()]) - before) * 1000 / count


def measure(predictor: Predictor, video: Path, rounds: int, count: int) -> dict[str, Any]:
    """Both ways in turn."""
    prompt: TextPrompt = predictor.encode(PROMPT)
    with open_source(video, max_frames=1) as source:
        (first,) = source
    prepared = predictor.preprocess(first.image)

    def alone() -> None:
        for _ in range(count):
            predictor.infer(prepared, prompt)

    def whole() -> None:
        with open_source(video, loop=True, max_frames=count) as source:
            assert sum(1 for _ in Pipeline(source, predictor, [prompt])) == count

    series: dict[str, list[np.ndarray]] = {"inference": [], "pipeline": []}
    alone()
    for number in range(rounds):
        turn = (("inference", alone), ("pipeline", whole))
        for name, work in turn if number % 2 == 0 else turn[::-1]:
            series[name].append(timed(work, count))
    inference, pipeline = (np.stack(values) for values in series.values())
    report: dict[str, Any] = {"video": f"{first.size[0]} x {first.size[1]}", "backend": predictor.backend}
    for column, kind in enumerate(("elapsed", "processor")):
        ratios = pipeline[:, column] / inference[:, column]
        report[kind] = {
            "inference_ms": round(float(np.median(inference[:, column])), 2),
            "pipeline_ms": round(float(np.median(pipeline[:, column])), 2),
            "pipeline / inference": {f"p{p}": round(float(np.percentile(ratios, p)), 3) for p in (10, 50, 90)},
        }
    return report


def main() -> None:
    """Parse the arguments, measure, print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--video", type=Path, help="default: made of the demo clip")
    parser.add_argument("--model", type=Path, default=default_bundle_path(), help="bundle (default: the embedded one)")
    parser.add_argument("--backend", help="backend (default: the best available)")
    parser.add_argument("--threads", type=int, default=1, help="of the backend (default 1)")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--frames", type=int, default=FRAMES, help="per round and way")
    given = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        Predictor(Bundle.load(given.model), given.backend, given.threads) as predictor,
    ):
        video = given.video or Path(folder) / "720p.mp4"
        if given.video is None:
            enlarge(video)
        print(json.dumps(measure(predictor, video, given.rounds, given.frames), indent=2))


if __name__ == "__main__":
    main()
