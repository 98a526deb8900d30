"""Large archives: every video and picture below a folder, on the workers of Ray Data.

Each file becomes one file of JSON lines beside the others of the archive, the lines being those of
`humar-edge run --jsonl`. A file of results appears under its name when it is complete, so a run that was stopped or
killed goes on where it ended: what has its results is skipped.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from humar_edge.bundle import MANIFEST, Bundle, default_bundle_path
from humar_edge.errors import BackendError, ConfigError, HumarError, MissingExtraError, SinkError, SourceError
from humar_edge.files import write_text
from humar_edge.prompts import clean_text

RUN_FILE = "batch.json"
"""What the results in a folder are results of; a run with something else in mind is refused there."""

PART = ".part"
BLOCKS_PER_WORKER = 64
"""Ray hands out files in so many portions: small ones, so that no worker is left alone with a long rest."""


@dataclass(frozen=True)
class Job:
    """What every worker needs to know; plain data, it travels between processes.

    Attributes:
        root: Folder of the archive.
        output: Folder of the results.
        texts: Prompts.
        model: The bundle.
        backend: Runtime backend, None for the best of the worker's machine.
        threads: CPU threads of one worker.
        threshold: Replaces the bundle's score threshold.
        smooth: Smooth keypoints in videos; None: as `humar-edge run` does.
        masks: Put masks into the lines.
    """

    root: Path
    output: Path
    texts: tuple[str, ...]
    model: Path
    backend: str | None = None
    threads: int = 1
    threshold: float | None = None
    smooth: bool | None = None
    masks: bool = False

    def result(self, name: str) -> Path:
        """File of results of a file of the archive; the whole name stays, `a.png` and `a.jpg` are different files."""
        return self.output / f"{name}.jsonl"

    def identity(self) -> dict[str, Any]:
        """What decides about the content of the results."""
        manifest = (self.model / MANIFEST).read_bytes()
        options = {"threshold": self.threshold, "smooth": self.smooth, "masks": self.masks}
        return {"model_sha256": hashlib.sha256(manifest).hexdigest(), "texts": list(self.texts), **options}


@dataclass
class Summary:
    """What a run did.

    Attributes:
        files: Files that were processed.
        skipped: Files that had their results already.
        frames: Frames of the processed files.
        failed: Error by file that could not be read; such files are tried again by the next run.
    """

    files: int = 0
    skipped: int = 0
    frames: int = 0
    failed: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {"files": self.files, "skipped": self.skipped, "frames": self.frames, "failed": self.failed}


class Worker:
    """One process: opens the engines once and turns files into files of results. Ray makes and calls it."""

    def __init__(self, job: Job) -> None:
        from humar_edge.runtime.predictor import Predictor

        self._job = job
        self._predictor = Predictor(Bundle.load(job.model), job.backend, job.threads, job.threshold)
        self._prompts = [self._predictor.encode(text) for text in job.texts]

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Process `row["name"]`, a path below the archive; an unreadable file is an answer, not an exception."""
        name = str(row["name"])
        try:
            return {"name": name, "frames": self._process(name), "error": ""}
        except HumarError as error:
            return {"name": name, "frames": 0, "error": str(error)}

    def _process(self, name: str) -> int:
        from humar_edge.runtime.pipeline import Pipeline
        from humar_edge.runtime.sinks import JsonlSink
        from humar_edge.runtime.sources import open_source

        target = self._job.result(name)
        part = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}{PART}")
        try:
            with open_source(self._job.root / name) as source, JsonlSink(part, masks=self._job.masks) as sink:
                for result in Pipeline(source, self._predictor, self._prompts, smooth=self._job.smooth):
                    frame = replace(result.frame, name=name)
                    sink.write(frame, result.persons, partial(getattr, frame, "image"))
            os.replace(part, target)
        except OSError as error:
            raise SinkError(f"cannot write {target}: {error.strerror or error}") from error
        finally:
            part.unlink(missing_ok=True)
        return sink.written


def run_batch(
    source: str | Path,
    output: str | Path,
    texts: Sequence[str],
    *,
    model: str | Path | None = None,
    workers: int = 2,
    address: str | None = None,
    backend: str | None = None,
    threads: int = 1,
    threshold: float | None = None,
    smooth: bool | None = None,
    masks: bool = False,
    on_plan: Callable[[int, int], None] = lambda todo, done: None,
    on_file: Callable[[str, int, str], None] = lambda name, frames, error: None,
) -> Summary:
    """Process every video and picture below a folder that has no results yet.

    Args:
        source: Folder of the archive.
        output: Folder of the results, with the archive's tree in it: `clips/a.mp4` -> `clips/a.mp4.jsonl`.
        texts: Prompts; every frame gives one line for each.
        model: Bundle; None: the embedded one.
        workers: Worker processes.
        address: A Ray cluster ("auto" or HOST:PORT) whose machines all see the folders under the same names; None
            starts Ray on this machine.
        backend: As of `humar-edge run`.
        threads: CPU threads per worker.
        threshold: As of `humar-edge run`.
        smooth: As of `humar-edge run`.
        masks: Put masks into the lines.
        on_plan: Called once with the number of files to process and of those that are skipped.
        on_file: Called for every file that is done with its name, its frames and its error, empty without one.

    Raises:
        BackendError: A worker cannot run the engines.
        ConfigError: A count is not positive, or the output holds results of another run.
        MissingExtraError: Ray is not installed.
        PromptError: A prompt is empty.
        SourceError: There is nothing to process.
    """
    if workers < 1 or threads < 1:
        raise ConfigError("workers and threads must be at least 1")
    if not texts:
        raise ConfigError('whom to look for? --text "the man in red"')
    root, results = Path(source).resolve(), Path(output).resolve()
    path = Path(default_bundle_path() if model is None else model).resolve()
    cleaned = tuple(dict.fromkeys(clean_text(text) for text in texts))
    job = Job(root, results, cleaned, path, backend, threads, threshold, smooth, masks)
    Bundle.load(path)
    names = find_files(root, exclude=results)
    todo = [name for name in names if not job.result(name).is_file()]
    _refuse_another_run(job)
    summary, workers = Summary(skipped=len(names) - len(todo)), min(workers, len(todo))
    # Before the folder is taken for results that could not be made.
    with _cluster(workers * threads, address) if todo else nullcontext() as ray:
        _claim(job)
        on_plan(len(todo), summary.skipped)
        for name in todo:
            job.result(name).parent.mkdir(parents=True, exist_ok=True)
        for row in _rows(ray, job, todo, workers) if todo else ():
            name, frames, error = str(row["name"]), int(row["frames"]), str(row["error"])
            if error:
                summary.failed[name] = error
            else:
                summary.files, summary.frames = summary.files + 1, summary.frames + frames
            on_file(name, frames, error)
    return summary


def find_files(root: Path, exclude: Path) -> list[str]:
    """Videos and pictures below a folder as POSIX paths relative to it, in natural order; hidden ones are left out.

    Args:
        root: The folder.
        exclude: What lies below this folder is left out too, where it is one inside `root`.

    Raises:
        SourceError: It is no folder, or there are none.
    """
    from humar_edge.runtime.sources import IMAGE_SUFFIXES, VIDEO_SUFFIXES
    from humar_edge.runtime.sources.files import natural_key

    if not root.is_dir():
        raise SourceError(f"{root} is not a folder; batch takes a folder of videos and pictures")
    known = IMAGE_SUFFIXES | VIDEO_SUFFIXES
    nested = root in exclude.parents
    found = []
    for path in root.rglob("*"):
        inside = path.relative_to(root)
        left_out = any(part.startswith(".") for part in inside.parts) or (nested and exclude in path.parents)
        if path.suffix.lower() in known and not left_out and path.is_file():
            found.append(inside)
    if not found:
        raise SourceError(f"no videos or pictures below {root}")
    return [path.as_posix() for path in sorted(found, key=natural_key)]


def _refuse_another_run(job: Job) -> None:
    file = job.output / RUN_FILE
    try:
        if file.is_file() and json.loads(file.read_text("utf-8")) != job.identity():
            raise ConfigError(
                f"{job.output} holds results of another model, other prompts or options; choose another --output"
            )
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file} cannot be read ({error}); choose another --output") from error


def _claim(job: Job) -> None:
    """Note what the folder's results are results of, unless it says so already; sweep up half files."""
    file = job.output / RUN_FILE
    if not file.is_file():
        write_text(file, json.dumps(job.identity(), indent=2, ensure_ascii=False) + "\n")
    try:
        # What a killed run left behind.
        for part in job.output.rglob(f".*{PART}"):
            part.unlink(missing_ok=True)
    except OSError as error:
        raise SinkError(f"cannot write {job.output}: {error.strerror or error}") from error


def _import_ray() -> Any:
    # Asked before the import: Ray reports its use over the network unless told not to.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Its native part prints notes about itself as errors; real ones come as exceptions.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MissingExtraError("ray", "ray") from error
    return ray


@contextmanager
def _cluster(cpus: int, address: str | None) -> Iterator[Any]:
    """Ray, started for the time of the context unless it runs already."""
    ray = _import_ray()
    mine = not ray.is_initialized()
    if mine:
        _start(ray, cpus, address)
    try:
        yield ray
    finally:
        if mine:
            ray.shutdown()


def _rows(ray: Any, job: Job, names: Sequence[str], workers: int) -> Iterator[dict[str, Any]]:
    ray.data.DataContext.get_current().enable_progress_bars = False
    items = [{"name": name} for name in names]
    try:
        blocks = min(len(items), workers * BLOCKS_PER_WORKER)
        answers = ray.data.from_items(items, override_num_blocks=blocks).map(
            Worker,
            fn_constructor_args=(job,),
            compute=ray.data.ActorPoolStrategy(size=workers),
            num_cpus=job.threads,
        )
        yield from answers.iter_rows()
    except ray.exceptions.RayError as error:
        raise BackendError(f"a Ray worker failed: {_last_line(error)}") from error


def _start(ray: Any, cpus: int, address: str | None) -> None:
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        if address is not None:
            ray.init(address=address, **quiet)
        else:
            # "local": never join a cluster that happens to be named in the environment.
            ray.init(address="local", num_cpus=cpus, include_dashboard=False, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise BackendError(f"Ray cannot be started: {_last_line(error)}") from error


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
