"""Watch `humar-edge run` over many frames: a clip that repeats, JSON lines and a table as outputs.

    python tools/soak_run.py --frames 20000

Prints memory, threads and open files of the process, and exits with 1 when they grew as `soak_serve.py` tells, or when
a frame is missing in the output. Linux only.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from soak_serve import COMMAND, grown, measure

DEMO = Path(__file__).resolve().parent.parent / "humar_edge" / "assets" / "demo.mp4"
PROMPTS = ("the person on the right",)
INTERVAL_S = 5.0


def soak(process: subprocess.Popen[str], records: Path) -> list[dict[str, float]]:
    """Watch the process until it ends; returns the measurements."""
    started, rows, frames = time.monotonic(), list[dict[str, float]](), 0
    print(f"{'s':>6} {'RSS MB':>8} {'threads':>8} {'files':>6} {'frames':>8}")
    if not wait_for(records, process):
        sys.exit("the run did not start")
    with records.open("rb") as lines:
        while process.poll() is None:
            try:
                row = measure(process.pid)
            except (OSError, KeyError):  # it ended between the two looks
                break
            frames += sum(1 for _ in lines) // len(PROMPTS)
            rows.append(row)
            values = (row["rss_mb"], row["threads"], row["files"], frames)
            print("{:6.0f} {:8.1f} {:8.0f} {:6.0f} {:8d}".format(time.monotonic() - started, *values), flush=True)
            time.sleep(INTERVAL_S)
    return rows


def wait_for(path: Path, process: subprocess.Popen[str]) -> bool:
    """Whether the file appears while the process lives."""
    while not path.exists() and process.poll() is None:
        time.sleep(0.1)
    return path.exists()


def main() -> None:
    """Parse the arguments, run, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=20_000, help="how many (default 20000)")
    parser.add_argument("--source", default=str(DEMO), help="video (default: the demo clip)")
    parser.add_argument("--model", help="bundle (default: the embedded one)")
    parser.add_argument("--backend", help="backend (default: the best available)")
    arguments = parser.parse_args()
    options = [
        "--source",
        arguments.source,
        "--loop",
        "--max-frames",
        str(arguments.frames),
        "--threads",
        "1",
        "--json",
    ]
    for text in PROMPTS:
        options += ["--text", text]
    for name in ("model", "backend"):
        if value := getattr(arguments, name):
            options += [f"--{name}", value]
    with tempfile.TemporaryDirectory() as folder:
        records = Path(folder) / "found.jsonl"
        options += ["--jsonl", str(records), "--csv", str(Path(folder) / "found.csv")]
        command = [sys.executable, "-u", "-c", COMMAND, "run", *options]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            rows = soak(process, records)
            summary = json.loads(process.communicate()[0])
        finally:
            process.kill()
        numbers = [json.loads(line)["frame"] for line in records.open("rb")][:: len(PROMPTS)]
    if process.returncode != 0 or numbers != list(range(arguments.frames)):
        sys.exit(f"exit code {process.returncode}, {len(numbers)} of {arguments.frames} frames in order")
    print(
        f"{summary['frames']} frames at {summary['fps']} frames/s on {summary['backend']}, each written once, in order"
    )
    problems = grown(rows)
    print(f"grew: {', '.join(problems)}" if problems else "nothing grew")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
