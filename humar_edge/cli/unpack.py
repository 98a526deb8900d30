"""`humar-edge unpack`: a checkpoint from a bundle."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("unpack")
@click.argument("bundle", type=click.Path(path_type=Path), required=False)
@click.option("--output", type=click.Path(path_type=Path), required=True, help="Checkpoint folder to write.")
def command(bundle: Path | None, output: Path) -> None:
    """Read the weights of BUNDLE (default: the embedded one) back into a checkpoint.

    For light networks with a frozen text encoder, exported with --prompts text,point. It can be trained further (train
    --init), teach (distill --teacher) and be exported in another precision or size. What INT8 rounded stays rounded.
    """
    from humar_edge.bundle import default_bundle_path
    from humar_edge.errors import ConfigError, MissingExtraError

    if output.exists():
        raise ConfigError(f"{output} exists; choose another --output")
    try:
        from humar_edge.export.unpack import unpack
    except ModuleNotFoundError as error:
        raise MissingExtraError(str(error.name), "export") from error
    path = bundle or default_bundle_path()
    click.echo(f"unpacking {path}, a minute")
    unpack(path, output)
    click.echo(f"wrote {output}; next: humar-edge train --init {output}, or distill --teacher {output}")
