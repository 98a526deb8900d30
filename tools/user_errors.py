"""Commands whose user's errors are one line and exit code 2, as those of humar-edge: `cls=Command` or `cls=Group`."""

from __future__ import annotations

from typing import Any

import click

from humar_edge.errors import HumarError


class _OneLine:
    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except HumarError as error:
            raise click.UsageError(str(error)) from error


class Command(_OneLine, click.Command):
    """A single command."""


class Group(_OneLine, click.Group):
    """A group of commands."""
