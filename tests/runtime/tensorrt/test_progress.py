"""What the person who waits for a build sees."""

from __future__ import annotations

import io

from rich.console import Console

from humar_edge.runtime.tensorrt.progress import RichWatcher
from humar_edge.runtime.tensorrt.worker_client import explain, explain_exit

EVENTS = (
    {"event": "start", "phase": "Building", "parent": None, "steps": 2},
    {"event": "start", "phase": "Tactics", "parent": "Building", "steps": 5},
    {"event": "step", "phase": "Tactics", "step": 2},
    {"event": "warning", "text": "something"},
    {"event": "finish", "phase": "Tactics"},
    {"event": "finish", "phase": "Building"},
)


def show(terminal: bool) -> str:
    stream = io.StringIO()
    watcher = RichWatcher(Console(file=stream, force_terminal=terminal, width=60))
    watcher.message("building [the] engine, which is a message that is longer than the line of this console is")
    with watcher.showing():
        for event in EVENTS:
            watcher.event(event)
            if watcher._progress is not None:
                watcher._progress.refresh()
    return stream.getvalue()


def test_bars_on_a_terminal():
    text = show(terminal=True)
    assert "Building" in text and "Tactics" in text


def test_only_whole_messages_in_a_log():
    wanted = "building [the] engine, which is a message that is longer than the line of this console is\n"
    assert show(terminal=False) == wanted


def test_known_reasons_come_with_advice():
    assert "lower the workspace limit" in explain("std::bad_alloc")
    assert "raise the workspace limit" in explain("Could not find any implementation for node X")
    assert "plugin missing" in explain("Plugin not found, are the plugin name, version, and namespace correct?")
    assert explain("something else") == "something else"


def test_exit_codes_in_words():
    assert "killed by the system" in explain_exit(137, "")
    assert explain_exit(-11, "a\nb\n") == "the build process crashed with SIGSEGV; a b"
    assert explain_exit(1, "") == "the build process ended with exit code 1; it printed nothing"
