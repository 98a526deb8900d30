"""What an extra prompt on the same picture costs, with split engines and without, side by side.

    python tools/measure_prompts.py BUNDLE --threads 1

The engines run in turn, so that what else the machine does hits all of them alike. Give a bundle that was exported
with `--split`.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np

from humar_edge.bundle import Bundle
from humar_edge.errors import BundleError
from humar_edge.runtime.runners import Runner, TensorSpec, choose_backend, open_runner

WARM_UP = 10


def measure(path: Path, backend: str | None, threads: int, runs: int) -> dict[str, object]:
    """Milliseconds of the whole engine and of both parts, and what follows from them."""
    bundle = Bundle.load(path)
    if bundle.split_engines is None:
        raise BundleError(f"{path} has no split engines; export it with --split")
    backend = choose_backend(backend)
    paths = dict(zip(("vision", "features", "prompt"), (bundle.vision_engine, *bundle.split_engines), strict=True))
    runners = {name: open_runner(engine, backend, threads) for name, engine in paths.items()}
    inputs = samples(runners)
    times: dict[str, list[float]] = {name: [] for name in runners}
    busy: dict[str, list[float]] = {name: [] for name in runners}
    for _ in range(WARM_UP + runs):
        for name, runner in runners.items():
            start, used = time.perf_counter(), time.process_time()
            runner.infer(inputs[name])
            times[name].append((time.perf_counter() - start) * 1e3)
            busy[name].append((time.process_time() - used) * 1e3)
    figures: dict[str, object] = {"backend": backend, "device": runners["vision"].device, "threads": threads}
    for runner in runners.values():
        runner.close()
    # On a machine that does other work, processor time says more than the clock.
    for word, statistic, measured in (
        ("median", np.median, times),
        ("fastest", np.min, times),
        ("median processor time", np.median, busy),
    ):
        value = {name: float(statistic(series[WARM_UP:])) for name, series in measured.items()}
        ratios = {f"{n} prompts": (value["features"] + n * value["prompt"]) / (n * value["vision"]) for n in (2, 4, 8)}
        figures[word] = {
            "ms": {name: round(number, 2) for name, number in value.items()},
            "extra prompt / whole engine": round(value["prompt"] / value["vision"], 3),
            "split / whole": {name: round(number, 3) for name, number in ratios.items()},
        }
    return figures


def samples(runners: dict[str, Runner]) -> dict[str, dict[str, np.ndarray]]:
    """Inputs of the three engines: noise as picture and words, real features for the prompt engine."""
    generator = np.random.default_rng(0)

    def noise(spec: TensorSpec) -> np.ndarray:
        if spec.dtype == np.uint8:
            return generator.integers(0, 256, spec.shape, dtype=np.uint8)
        return np.ones(spec.shape, np.int64) if spec.dtype == np.int64 else generator.random(spec.shape, np.float32)

    vision = {name: noise(spec) for name, spec in runners["vision"].input_specs.items()}
    image = {"image": vision["image"]}
    words = {name: value for name, value in vision.items() if name != "image"}
    return {"vision": vision, "features": image, "prompt": {**runners["features"].infer(image), **words}}


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--backend")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=int, default=200)
    given = parser.parse_args()
    print(json.dumps(measure(given.bundle, given.backend, given.threads, given.runs), indent=2))


if __name__ == "__main__":
    main()
