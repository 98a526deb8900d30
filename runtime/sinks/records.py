"""Results as text: JSON lines, CSV and a COCO results file. All are written as they come, nothing is collected."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from collections.abc import Sequence
from io import RawIOBase
from pathlib import Path

from humar_edge.errors import SinkError
from humar_edge.keypoints import NAMES
from humar_edge.results import Person
from humar_edge.runtime.sinks.base import Annotated, Sink, StopRequested, failed, partial_name, prepare_file
from humar_edge.runtime.sources.base import Frame, Source


class TextSink(Sink):
    """A text file that is complete after every frame: a failing write is taken back, the lines before it stay.

    The file is created with the first frame, so a run that fails earlier leaves nothing behind.

    Args:
        path: The file, or "-" for standard output.
        source: Where the frames come from; its own files are refused.
    """

    header = ""
    footer = ""

    def __init__(self, path: str | Path, source: Source | None = None) -> None:
        self.target = str(path)
        self._path = None if self.target == "-" else Path(path)
        if self._path is not None:
            prepare_file(self._path, source)
        self._stream: RawIOBase | None = None
        self._size = 0

    def lines(self, frame: Frame, persons: Sequence[Person]) -> str:
        """The text of one frame, with its line ends."""
        raise NotImplementedError

    def write(self, frame: Frame, persons: Sequence[Person], annotated: Annotated) -> None:
        """Append the lines of a frame and hand them to the system."""
        text = self.lines(frame, persons)
        self._append(text if self.written else self.header + text)
        self.written += 1

    def close(self) -> None:
        """Write the footer and close."""
        if self._stream is None:
            return
        try:
            if self.footer:
                self._append(self.footer)
        finally:
            self._stream.close()
            self._stream = None

    def report(self) -> str | None:
        """Where the file is."""
        return None if self._path is None else super().report()

    def _open(self) -> RawIOBase:
        # Unbuffered: after a failed write nothing is left in memory that a later close would try to write again.
        target = self._place()
        return open(sys.stdout.fileno() if target is None else target, "wb", buffering=0, closefd=target is not None)

    def _place(self) -> Path | None:
        return self._path

    def _append(self, text: str) -> None:
        # A file name need not be UTF-8; in JSON the escape even means the same.
        data = memoryview(text.encode(errors="backslashreplace"))
        try:
            if self._stream is None:
                self._stream = self._open()
            done = 0
            while done < len(data):
                done += self._stream.write(data[done:]) or 0
        except BrokenPipeError as error:
            raise StopRequested from error
        except OSError as error:
            self._take_back()
            raise failed(self.target, error, f"the {self.written} frames before are kept") from error
        self._size += len(data)

    def _take_back(self) -> None:
        """Drop a half-written frame, so that every line in the file is whole."""
        place = self._place()
        if self._stream is not None and place is not None and place.is_file():
            self._stream.truncate(self._size)
            self._stream.seek(self._size)


class JsonlSink(TextSink):
    """One JSON line per person and frame, as in `humar_edge/assets/person.schema.json`.

    Args:
        path: The file, or "-" for standard output.
        source: Where the frames come from; its own files are refused.
        masks: Add the mask as COCO RLE.
    """

    def __init__(self, path: str | Path, source: Source | None = None, *, masks: bool = False) -> None:
        super().__init__(path, source)
        self._masks = masks

    def lines(self, frame: Frame, persons: Sequence[Person]) -> str:
        """The people of a frame."""
        records = (
            person.to_record(source=frame.name, frame=frame.index, time_s=frame.time_s, mask=self._masks)
            for person in persons
        )
        return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


class CsvSink(TextSink):
    """One row per person and frame; empty cells where nobody was found."""

    columns = (
        *("source", "frame", "time_s", "text", "found", "score", "left", "top", "right", "bottom"),
        *(f"{name}_{axis}" for name in NAMES for axis in ("x", "y", "visible")),
    )
    header = ",".join(columns) + "\r\n"

    def lines(self, frame: Frame, persons: Sequence[Person]) -> str:
        """The people of a frame."""
        rows = io.StringIO()
        writer = csv.writer(rows)
        for person in persons:
            data = person.to_dict()
            head = [_harmless(frame.name), frame.index, round(frame.time_s, 4), _harmless(person.text)]
            box = data["box_xyxy"] or [""] * 4
            points = [v for row in data["keypoints"] or [[""] * 3] * len(NAMES) for v in row]
            writer.writerow([*head, int(person.found), data["score"], *box, *points])
        return rows.getvalue()


class CocoSink(TextSink):
    """A COCO results file (keypoints, boxes, segmentations) for evaluation; complete, and renamed, when closed.

    Pictures that are all named by a number of their own, as in COCO, keep it as `image_id`; other frames get their
    index.
    """

    header = "[\n"
    footer = "\n]\n"

    def __init__(self, path: str | Path, source: Source | None = None) -> None:
        super().__init__(path, source)
        if self._path is None:
            raise SinkError("COCO results need a file, not standard output")
        self._part = partial_name(self._path)
        self._ids = _picture_numbers(source) if source else {}

    def lines(self, frame: Frame, persons: Sequence[Person]) -> str:
        """The people of a frame."""
        image_id = self._ids.get(Path(frame.name).stem, frame.index)
        entries = ",\n".join(json.dumps(person.to_coco(image_id)) for person in persons)
        return f",\n{entries}" if self.written else entries

    def close(self) -> None:
        """Complete the list and give the file its name."""
        if self._stream is None or self._path is None:
            return
        try:
            super().close()
        finally:
            try:
                os.replace(self._part, self._path)
            except OSError as error:
                raise failed(self.target, error) from error

    def _place(self) -> Path | None:
        return self._part


def _picture_numbers(source: Source) -> dict[str, int]:
    """Number by stem of a source's pictures; empty unless every name is a number and no two are the same."""
    stems = [path.stem for path in source.files or (Path(source.name),)]
    if not source.still or not all(stem.isascii() and stem.isdigit() for stem in stems):
        return {}
    numbers = {stem: int(stem) for stem in stems}
    return numbers if len(set(numbers.values())) == len(stems) else {}


def _harmless(text: str) -> str:
    """Text that a spreadsheet does not take for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "@", "\t", "\r") or (text[:1] == "-" and len(text) > 1) else text
