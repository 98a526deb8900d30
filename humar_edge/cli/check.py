"""`humar-edge check`: compile a bundle's engines with TensorRT-RTX, without a GPU."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

import click


@click.command("check")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--targets", default="7.5,8.6,8.9,12.0", show_default=True, help="Compute capabilities.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the result to this file.")
def command(bundle: Path, targets: str, json_file: Path | None) -> None:
    """Parse and compile every engine of BUNDLE ahead of time; exit code 1 when one does not compile."""
    from humar_edge.errors import MissingExtraError
    from humar_edge.evaluation.report import write_json

    try:
        from humar_edge.export.rtx import DISCLAIMER, check_bundle, limited, targets_of
    except ModuleNotFoundError as error:
        raise MissingExtraError(str(error.name), "export") from error
    names = targets_of(targets)
    try:
        found = check_bundle(bundle, names)
    except ModuleNotFoundError as error:
        raise MissingExtraError(str(error.name), "export") from error
    for check in found:
        weights = ", ".join(f"{size / 1e6:.1f} MB {kind}" for kind, size in check.weights.items())
        operators = ", ".join(f"{name} {number}" for name, number in list(check.operators.items())[:12])
        click.echo(f"{check.engine}: {sum(check.operators.values())} nodes ({operators}...)")
        click.echo(f"  constants: {weights}; Q/DQ pairs on activations: {check.quantised}")
        for target, built in check.result.get("built", {}).items():
            if built["ok"]:
                click.echo(f"  {target}: {built['plan_bytes'] / 1e6:.1f} MB plan in {built['seconds']:.1f} s")
                continue
            what = "not possible with TensorRT-RTX" if limited(target, built) else "FAILED"
            click.echo(f"  {target}: {what}: {built['errors'][0]}")
        for line in check.result.get("errors", ())[:5]:
            click.echo(f"  FAILED to {check.result['stage']}: {line}")
    if found:
        click.echo(f"TensorRT-RTX {found[0].result.get('version', '?')}. {DISCLAIMER}")
    if json_file is not None:
        write_json(json_file, [asdict(check) for check in found])
    if not all(check.ok for check in found):
        sys.exit(1)
