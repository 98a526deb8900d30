"""Protocol buffers' text format, as far as Triton's `config.pbtxt` needs it: written from and read into plain data."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from humar_edge.errors import ExportError

_TOKEN = re.compile(r'\s*(?:#[^\n]*\n\s*)*("(?:[^"\\]|\\.)*"|[\[\]{}:,]|[^\s\[\]{}:,"#]+)')


class Word(str):
    """A name of an enumeration, written without quotes."""


def to_pbtxt(message: Mapping[str, Any], indent: int = 0) -> str:
    """A message as text: mappings become messages, lists repeated fields; order is kept."""
    lines = []
    for name, value in message.items():
        for item in value if _repeated_messages(value) else [value]:
            lines.append(_field(name, item, indent))
    return "".join(lines)


def _repeated_messages(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], Mapping)


def _field(name: str, value: Any, indent: int) -> str:
    space = "  " * indent
    if isinstance(value, Mapping):
        return f"{space}{name} {{\n{to_pbtxt(value, indent + 1)}{space}}}\n"
    if isinstance(value, list):
        return f"{space}{name}: [ {', '.join(_scalar(item) for item in value)} ]\n"
    return f"{space}{name}: {_scalar(value)}\n"


def _scalar(value: Any) -> str:
    if isinstance(value, Word):
        return str(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value)


def from_pbtxt(text: str) -> dict[str, list[Any]]:
    """Every field as a list of its values: messages as such dictionaries, names of enumerations as `Word`.

    Raises:
        ExportError: The text is not of this format.
    """
    tokens = _tokens(text)
    message = _message(tokens, end=None)
    return message


def _tokens(text: str) -> Iterator[str]:
    position, text = 0, text.rstrip() + "\n"
    while position < len(text.rstrip()):
        match = _TOKEN.match(text, position)
        if match is None:
            raise ExportError(f"cannot read {text[position : position + 20]!r} as text format")
        yield match[1]
        position = match.end()


def _message(tokens: Iterator[str], end: str | None) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for name in tokens:
        if name == end:
            return found
        if name == ",":
            continue
        values = found.setdefault(name, [])
        token = _next(tokens)
        if token == ":":
            token = _next(tokens)
        if token == "[":
            for item in tokens:
                if item == "]":
                    break
                if item != ",":
                    values.append(_value(item, tokens))
        else:
            values.append(_value(token, tokens))
    if end is not None:
        raise ExportError("a message is not closed")
    return found


def _value(token: str, tokens: Iterator[str]) -> Any:
    if token == "{":
        return _message(tokens, "}")
    if token.startswith('"'):
        return json.loads(token)
    if token in ("true", "false"):
        return token == "true"
    return int(token) if re.fullmatch(r"-?\d+", token) else Word(token)


def _next(tokens: Iterator[str]) -> str:
    token = next(tokens, None)
    if token is None:
        raise ExportError("the text ends inside a field")
    return token
