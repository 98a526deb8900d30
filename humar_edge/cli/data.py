"""`humar-edge data`: look at a data set."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import click

_FEWEST_TOKENS = r"\w+|[^\w\s]"


@click.group("data")
def command() -> None:
    """Data sets in RefHuman format."""


@command.command("check")
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--token-length", type=click.IntRange(min=3), default=32, show_default=True, help="Longest caption.")
@click.option("--tokenizer", type=click.Path(path_type=Path), help="A tokenizer.json, or a bundle that holds one.")
@click.option("--quick", is_flag=True, help="Do not decode the pictures.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of tables.")
@click.pass_context
def check(
    context: click.Context, directory: Path, token_length: int, tokenizer: Path | None, quick: bool, as_json: bool
) -> None:
    """Print statistics of DIRECTORY and everything that would spoil training or evaluation.

    Finds missing and unreadable pictures, the same photo in two splits, degenerate boxes, captions that are cut off,
    and other broken entries. Exits with 1 when there is any.
    """
    import json

    from rich.console import Console

    from humar_edge.cli.progress import progress_bar
    from humar_edge.data.check import check_dataset

    count_tokens, how = _token_counter(tokenizer)
    with ExitStack() as stack:

        def progress(total: int) -> Callable[[], None]:
            return stack.enter_context(progress_bar("decoding pictures", total))

        result = check_dataset(directory, count_tokens, token_length, not quick, progress)
    if as_json:
        click.echo(json.dumps({**result.to_dict(), "tokens_counted_by": how}, indent=2, ensure_ascii=False))
    else:
        from humar_edge.data.check_tables import check_tables

        console = Console()
        for table in check_tables(result):
            console.print(table)
        click.echo(f"tokens counted by {how}")
        click.echo(f"{sum(problem.count for problem in result.problems) or 'no'} problems")
    context.exit(1 if result.problems else 0)


def _token_counter(tokenizer: Path | None) -> tuple[Callable[[str], int], str]:
    """Counts the tokens of a caption, and says how; without a tokenizer the fewest that any could need."""
    import re

    from humar_edge.bundle import TOKENIZER, default_bundle_path
    from humar_edge.errors import BundleError, DataError

    if tokenizer is None:
        try:
            tokenizer = default_bundle_path()
        except BundleError:
            words = re.compile(_FEWEST_TOKENS)
            return (lambda caption: len(words.findall(caption)) + 2), "words (a tokenizer may need more)"
    path = tokenizer / TOKENIZER if tokenizer.is_dir() else tokenizer
    from tokenizers import Tokenizer

    try:
        loaded = Tokenizer.from_file(str(path))
    except Exception as error:  # the binding raises bare Exception
        raise DataError(f"{path} is not a tokenizer: {error}") from error
    loaded.no_truncation()
    loaded.no_padding()
    return (lambda caption: len(loaded.encode(caption).ids)), path.name
