"""The documents say what is there: links resolve, and commands in code blocks exist with their options."""

from __future__ import annotations

import ast
import importlib.util
import re
import shlex
from functools import cache
from pathlib import Path

import click
import pytest

from humar_edge.cli.main import group
from humar_edge.combos import COMBOS

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted(path.relative_to(ROOT).as_posix() for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
SHELL = ("", "sh", "bash", "shell", "console")


def text_of(document: str) -> str:
    return (ROOT / document).read_text("utf-8")


def blocks(document: str, languages: tuple[str, ...]) -> list[str]:
    return [body for language, body in FENCE.findall(text_of(document)) if language in languages]


def commands(document: str) -> list[list[str]]:
    """Words of the command lines in a document's code blocks, fenced or indented by four columns."""
    indented = re.findall(r"^ {4}(.+(?:\\\n.+)*)$", FENCE.sub("", text_of(document)), re.MULTILINE)
    found = []
    for block in [*blocks(document, SHELL), *indented]:
        for line in block.replace("\\\n", " ").splitlines():
            line = line.strip().removeprefix("$ ")
            if re.match(r"(\w+=\S+ )*(\S*/)?(humar-edge|make|python3?|pip)\s", line + " "):
                words = shlex.split(line, comments=True)
                found.append([word for i, word in enumerate(words) if i or "=" not in word])
    return found


@cache
def make_targets() -> set[str]:
    return set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))


@cache
def extras() -> set[str]:
    section = (ROOT / "pyproject.toml").read_text("utf-8").split("[project.optional-dependencies]")[1].split("\n[")[0]
    return set(re.findall(r"^(\w+) = \[", section, re.MULTILINE))


def check_humar_edge(words: list[str]) -> None:
    """The verb, its sub-verbs and its long options exist."""
    command: click.Command = group
    context = click.Context(group)
    words = words[: words.index("|")] if "|" in words else words
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(context, words[0])
        assert found is not None, f"there is no verb '{words[0]}'"
        command, words = found, words[1:]
    known = {"--help", "--version"}
    for parameter in command.params:
        known |= {*parameter.opts, *parameter.secondary_opts}
    options = {word.split("=")[0] for word in words if word.startswith("--")}
    assert options <= known, f"{command.name} has no {', '.join(sorted(options - known))}"


def check_make(words: list[str]) -> None:
    targets = [word for word in words if "=" not in word and not word.startswith("-")]
    assert set(targets) <= make_targets()


def check_python(words: list[str]) -> None:
    if words[:1] == ["-m"]:
        assert importlib.util.find_spec(words[1]) is not None, f"there is no module {words[1]}"
    elif words and words[0].endswith(".py") and "/" in words[0]:
        assert (ROOT / words[0]).is_file(), f"there is no {words[0]}"


def check_pip(words: list[str]) -> None:
    for word in words:
        if named := re.fullmatch(r"(?:humar-edge|\.)\[([\w,-]+)\]", word):
            assert set(named[1].split(",")) <= extras(), f"{word} names an extra that does not exist"


CHECKS = {
    "humar-edge": check_humar_edge,
    "make": check_make,
    "python": check_python,
    "python3": check_python,
    "pip": check_pip,
}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_exist(document):
    for words in commands(document):
        try:
            CHECKS[words[0].rpartition("/")[2]](words[1:])
        except AssertionError as error:
            raise AssertionError(f"{document}: {shlex.join(words)}: {error}") from error


def test_the_readme_begins_with_the_two_commands():
    assert [" ".join(words) for words in commands("README.md")[:2]] == ["make demo", "make test"]


def test_the_readme_lists_the_combinations():
    rows = re.findall(r"^\| `([\w-]+)` \| (\w+) \+ (\w+) \+ (\w+) \| (\S*) ?\|", text_of("README.md"), re.MULTILINE)
    assert rows[1:] == [
        (name, combo.transformer_type, combo.text_encoder_type, combo.backbone, combo.total)
        for name, combo in COMBOS.items()
    ]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_python_examples_compile(document):
    for block in blocks(document, ("python", "py")):
        ast.parse(block)


def anchors(document: Path) -> set[str]:
    """The anchors of a document's headings, as code hosts make them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", document.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_resolve(document):
    broken = []
    for link in LINK.findall(FENCE.sub("", text_of(document))):
        if "://" in link or link.startswith("mailto:"):
            continue
        name, _, anchor = link.partition("#")
        target = (ROOT / document).parent / name if name else ROOT / document
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []
