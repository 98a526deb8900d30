"""Prompts: words become token ids, points, scribbles and boxes become twelve points."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tokenizers import Tokenizer as HubTokenizer

from humar_edge.errors import BundleError, PromptError

POINTS = 12
"""Points of a positional prompt, as in RefHuman's scribbles."""

_PADDING_TOKENS = ("[PAD]", "<pad>")

# A grid in the middle of a person's box, away from its corners, where there is usually background.
_BOX_GRID = np.array([(x, y) for y in (0.2, 0.4, 0.6, 0.8) for x in (0.35, 0.5, 0.65)], dtype=np.float32)


@dataclass(frozen=True, eq=False)
class TextPrompt:
    """An encoded text prompt, ready for the vision engine.

    Attributes:
        text: The cleaned prompt.
        text_tokens: float32 [1, T, D].
        text_mask: int64 [1, T], 1 = a real token.
        sentence: float32 [1, D].
        truncated: Whether words at the end did not fit.
    """

    text: str
    text_tokens: np.ndarray
    text_mask: np.ndarray
    sentence: np.ndarray
    truncated: bool = False


@dataclass(frozen=True, eq=False)
class PositionalPrompt:
    """A place in the frame.

    Attributes:
        text: What to call it in results.
        points: float32 [12, 2], x and y in source pixels.
    """

    text: str
    points: np.ndarray


Prompt = TextPrompt | PositionalPrompt


def clean_text(text: str) -> str:
    """Strip a prompt, drop control characters and collapse white space.

    Raises:
        PromptError: Nothing is left, or it holds broken characters.

    Example:
        >>> clean_text("  the man\\n in   red ")
        'the man in red'
    """
    if not isinstance(text, str):
        raise PromptError(f"a text prompt must be text, got {type(text).__name__}")
    try:
        text.encode()
    except UnicodeEncodeError as error:  # half a character of JSON, or bytes of another encoding on the command line
        raise PromptError("prompt holds characters that are not Unicode; type it again, in UTF-8") from error
    spaced = "".join(" " if unicodedata.category(character) == "Cc" else character for character in text)
    cleaned = " ".join(spaced.split())
    if not cleaned:
        raise PromptError("prompt is empty; describe one person, for example --text 'the woman in the red jacket'")
    return cleaned


class Encoding(NamedTuple):
    """Token ids and their mask, int64 [1, T]; `truncated` when words at the end did not fit."""

    input_ids: np.ndarray
    attention_mask: np.ndarray
    truncated: bool


class Tokenizer:
    """A bundle's tokenizer with truncation and padding to its token length."""

    def __init__(self, path: Path, length: int) -> None:
        """Read `tokenizer.json`.

        Raises:
            BundleError: The file is not a tokenizer.
        """
        try:
            self._tokenizer = HubTokenizer.from_file(str(path))
        except Exception as error:  # the binding raises bare Exception
            raise BundleError(f"{path}: not a tokenizer ({error})") from error
        padding = self._tokenizer.padding or {}
        token = padding.get("pad_token") or next(
            (name for name in _PADDING_TOKENS if self._tokenizer.token_to_id(name) is not None), _PADDING_TOKENS[0]
        )
        identity = self._tokenizer.token_to_id(token) or 0
        self._tokenizer.enable_truncation(length)
        self._tokenizer.enable_padding(length=length, pad_id=identity, pad_token=token)

    def encode(self, text: str) -> Encoding:
        """Token ids of a cleaned prompt."""
        encoding = self._tokenizer.encode(text)
        return Encoding(
            np.asarray([encoding.ids], dtype=np.int64),
            np.asarray([encoding.attention_mask], dtype=np.int64),
            bool(encoding.overflowing),
        )


def point_prompt(points: object) -> PositionalPrompt:
    """One point (x, y) or several points [N, 2] on the person, in source pixels.

    The points are repeated until there are twelve; of more than twelve, twelve evenly spaced ones are kept.
    """
    array = _coordinates(points, "a point prompt needs x,y or a list of x,y")
    chosen = np.resize(np.arange(len(array)), POINTS)
    if len(array) > POINTS:
        chosen = np.linspace(0, len(array) - 1, POINTS).round().astype(int)
    x, y = array[0]
    name = f"point ({x:g}, {y:g})" if len(array) == 1 else f"{len(array)} points"
    return PositionalPrompt(name, array[chosen])


def scribble_prompt(points: object) -> PositionalPrompt:
    """A scribble [N, 2] over the person, in source pixels, resampled to twelve points of equal distance."""
    array = _coordinates(points, "a scribble needs a list of x,y")
    steps = np.hypot(*np.diff(array, axis=0).T) if len(array) > 1 else np.zeros(0)
    along = np.concatenate(([0.0], np.cumsum(steps)))
    wanted = np.linspace(0.0, along[-1], POINTS)
    resampled = np.stack([np.interp(wanted, along, array[:, axis]) for axis in (0, 1)], axis=1)
    return PositionalPrompt("scribble", resampled.astype(np.float32))


def box_prompt(box_xyxy: object) -> PositionalPrompt:
    """A box (left, top, right, bottom) around the person in source pixels; becomes twelve points inside it."""
    corners = _coordinates(box_xyxy, "a box needs left,top,right,bottom")
    if len(corners) != 2 or np.any(corners[1] <= corners[0]):
        raise PromptError("a box needs left,top,right,bottom with left < right and top < bottom")
    left, top, right, bottom = corners.ravel()
    name = f"box ({left:g}, {top:g}, {right:g}, {bottom:g})"
    return PositionalPrompt(name, corners[0] + _BOX_GRID * (corners[1] - corners[0]))


def _coordinates(values: object, message: str) -> np.ndarray:
    """Pairs of coordinates as float32 [N, 2], N >= 1."""
    try:
        array = np.asarray(values, dtype=np.float32)
    except (TypeError, ValueError, OverflowError) as error:
        raise PromptError(message) from error
    if array.size == 0 or array.size % 2 or (array.ndim > 1 and array.shape[-1] != 2):
        raise PromptError(message)
    if not np.isfinite(array).all():
        raise PromptError(f"{message}; the coordinates must be finite numbers")
    return array.reshape(-1, 2)
