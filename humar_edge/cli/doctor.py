"""`humar-edge doctor`: what this machine has, and what to do about what is missing."""

from __future__ import annotations

import json
import sys

import click

COLOURS = {"OK": "green", "missing": "yellow", "wrong version": "red", "low": "red"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def command(as_json: bool) -> None:
    """Look at GPU, TensorRT, OpenVINO, OpenCV, cameras, memory and the bundle. Exit code 1 when nothing can run."""
    from humar_edge.runtime.doctor import as_dict, can_run, examine

    findings = examine()
    if as_json:
        click.echo(json.dumps(as_dict(findings), indent=2))
    else:
        width = max(len(finding.subject) for finding in findings)
        for finding in findings:
            state = click.style(f"{finding.state:<13}", fg=COLOURS[finding.state])
            advice = f"-> {finding.advice}" if finding.advice else ""
            text = " ".join(part for part in (finding.found, advice) if part)
            click.echo(f"{finding.subject:<{width}}  {state}  {text}")
        verdict = "bundles can run here" if can_run(findings) else "nothing can run here: install openvino"
        click.echo(verdict)
    sys.exit(0 if can_run(findings) else 1)
