"""The `humar-edge` command: a lazy table of verbs, so that help answers at once."""

from __future__ import annotations

import io
import sys
from importlib import import_module

import click

from humar_edge import __version__
from humar_edge.errors import HumarError

VERBS: dict[str, tuple[str, str]] = {
    "run": ("run", "Find the person a prompt means in pictures, videos or a camera."),
    "serve": ("serve", "Live view with a prompt field in the browser."),
    "batch": ("batch", "Process a folder tree of videos and pictures on several workers."),
    "list": ("list_", "The combinations and their components."),
    "info": ("info", "Layers, inputs and outputs, and memory of one combination or bundle."),
    "doctor": ("doctor", "What this machine has, and what to do about what is missing."),
    "bench": ("bench", "Latency of combinations and backends."),
    "export": ("export", "Pack a trained checkpoint as a bundle of ONNX engines."),
    "unpack": ("unpack", "A checkpoint from a bundle, to train, distil or export it again."),
    "calibrate": ("calibrate", "Calibration statistics, sensitivity and precision plans."),
    "compare": ("compare", "Parity of two models: errors, metrics, worst pictures."),
    "check": ("check", "Compile a bundle's engines with TensorRT-RTX, without a GPU."),
    "cache": ("cache", "List or clear built TensorRT engines."),
    "train": ("train", "Train a combination on RefHuman-format data."),
    "distill": ("distill", "Other encoders for a trained network: a smaller one learns from it."),
    "val": ("val", "Metrics of a bundle or checkpoint on RefHuman-format data."),
    "data": ("data", "Check a RefHuman-format data set."),
    "synth": ("synth", "Render synthetic scenes in RefHuman format."),
}
"""Verb -> (module below humar_edge.cli, one line of help). The module's `command` is the click command."""


class LazyGroup(click.Group):
    """A click group that imports a verb's module only when the verb is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All verbs, in the order of the table."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the verb's module and return its command, None for an unknown verb."""
        if cmd_name not in VERBS:
            return None
        command: click.Command = import_module(f"humar_edge.cli.{VERBS[cmd_name][0]}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs from the table, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(verb, text) for verb, (_, text) in VERBS.items()])


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="humar-edge")
def group() -> None:
    """Referring human pose and mask estimation on small machines."""


def main() -> None:
    """Entry point: user errors become one line on stderr and exit code 2."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # File names need not be UTF-8, and printing one must not end a command.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        group()
    except HumarError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(2)
