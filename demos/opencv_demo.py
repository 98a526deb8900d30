"""Find a person by words in a camera picture or video, in one window.

    python -m humar_edge.demos.opencv_demo --source 0 --text "the man in red"

Keys: t type another prompt, space pause, s save the picture, q or Esc quit.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from humar_edge import HumarEdge
from humar_edge.errors import HumarError
from humar_edge.results import Person
from humar_edge.runtime.sinks.window import display_problem
from humar_edge.runtime.sources import Frame, open_source

WINDOW = "HuMAR Edge"
BACKSPACE, ENTER, ESCAPE = (8, 127), (10, 13), 27
WHITE, BLACK = (255, 255, 255), (0, 0, 0)


class Demo:
    """State of the window: the prompt in use, the prompt being typed, paused or not.

    Args:
        humar: Finds the person.
        text: The first prompt.
        folder: Where pictures are saved.
    """

    def __init__(self, humar: HumarEdge, text: str, folder: Path) -> None:
        self.humar, self.text, self.folder = humar, text, folder
        self.typing: str | None = None
        self.paused = self.done = False
        self.picture: np.ndarray | None = None
        self.keys: dict[int, Callable[[], None]] = {
            ord("t"): self.start_typing,
            ord(" "): self.toggle_pause,
            ord("s"): self.save,
            ord("q"): self.quit,
            ESCAPE: self.quit,
        }

    def update(self, frame: Frame) -> np.ndarray:
        """Find the person in a frame and draw them; returns the picture to show, BGR uint8 [H, W, 3]."""
        started = time.perf_counter()
        person = self.humar.predict(frame.image, text=self.text)
        self.picture = person.plot(frame.image)
        write_line(self.picture, self._status(person, time.perf_counter() - started), row=0)
        return self.picture

    def key(self, code: int) -> None:
        """React to a key (as from `cv2.waitKey`, -1 for none)."""
        if code < 0:
            return
        if self.typing is not None:
            self._type(code)
        elif code in self.keys:
            self.keys[code]()

    def start_typing(self) -> None:
        """The next keys are a prompt, until Enter (use it) or Esc (keep the old one)."""
        self.typing = ""

    def toggle_pause(self) -> None:
        """Stop or go on."""
        self.paused = not self.paused

    def save(self) -> None:
        """Save the picture as it is shown."""
        if self.picture is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            path = self.folder / time.strftime("humar-%Y%m%d-%H%M%S.png")
            cv2.imencode(".png", self.picture)[1].tofile(path)
            print(f"saved {path}")

    def quit(self) -> None:
        """End the demo."""
        self.done = True

    def _type(self, code: int) -> None:
        typed = self.typing or ""
        if code in ENTER:
            self.text, self.typing = typed.strip() or self.text, None
        elif code == ESCAPE:
            self.typing = None
        elif code in BACKSPACE:
            self.typing = typed[:-1]
        elif 32 <= code < 127:
            self.typing = typed + chr(code)

    def _status(self, person: Person, seconds: float) -> str:
        state = f"found {person.score:.2f}" if person.found else "not found"
        return f"{self.text}: {state}, {seconds * 1000:.0f} ms"

    def overlay(self, picture: np.ndarray) -> np.ndarray:
        """The picture with the prompt being typed, or a hint while paused."""
        if self.typing is None and not self.paused:
            return picture
        picture = picture.copy()
        hint = "paused: space goes on" if self.typing is None else f"new prompt: {self.typing}_"
        write_line(picture, hint, row=1)
        return picture


def write_line(picture: np.ndarray, text: str, row: int) -> None:
    """White text with a dark edge, in place."""
    place = (10, 25 + 28 * row)
    cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.6, BLACK, 4, cv2.LINE_AA)
    cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.6, WHITE, 1, cv2.LINE_AA)


def run(demo: Demo, source: str) -> None:
    """Show the frames of a source until it ends or the user quits."""
    cv2.namedWindow(WINDOW, cv2.WINDOW_NORMAL)
    with open_source(source) as frames:
        pause_ms = 0 if frames.still else 1
        for frame in frames:
            picture = demo.update(frame)
            while True:
                cv2.imshow(WINDOW, demo.overlay(picture))
                held = demo.paused or demo.typing is not None
                demo.key(cv2.waitKey(30 if held else pause_ms))
                if demo.done or cv2.getWindowProperty(WINDOW, cv2.WND_PROP_VISIBLE) < 1:
                    return
                if not demo.paused and demo.typing is None:
                    break


def main() -> None:
    """Parse the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", default="0", help="camera number, video, picture, folder or address (default: 0)")
    parser.add_argument("--text", required=True, help="whom to look for")
    parser.add_argument("--model", help="bundle (default: the embedded one)")
    parser.add_argument("--save-to", type=Path, default=Path("."), help="folder for saved pictures")
    arguments = parser.parse_args()
    try:
        problem = display_problem()
        if problem:
            raise HumarError(f"{problem}; use humar-edge run --output FILE or humar-edge serve")
        with HumarEdge(arguments.model) as humar:
            print(f"{humar.bundle.manifest.name} on {humar.backend} ({humar.device})")
            print("t prompt, space pause, s save, q quit")
            run(Demo(humar, arguments.text, arguments.save_to), arguments.source)
    except HumarError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
