"""`logmlm templates` and `version`."""

from __future__ import annotations

from pathlib import Path

import click

from logmlm.system.text import dump_json


@click.command(short_help="List the templates of a model.")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def templates(model: Path, output: str) -> None:
    """List the templates of MODEL: id, count, share of lines, template and an example."""
    from logmlm.detection.explanation import printable
    from logmlm.detection.manifest import Manifest
    from logmlm.parsing.template_miner import TemplateMiner

    Manifest.read(model)
    known = sorted(TemplateMiner.read(model / "templates.json"), key=lambda found: -found.count)
    total = sum(template.count for template in known)
    for found in known:
        row = {
            "id": found.id,
            "count": found.count,
            "share": found.count / total,
            "template": found.text,
            "example": found.example,
        }
        if output == "json":
            click.echo(dump_json(row))
        else:
            text = printable(found.text)
            click.echo(f"{found.id}  {found.count:>9}  {found.count / total:>7.2%}  {text}")
            click.echo(f"{'':>12}  {'':>9}  {'':>7}  e.g. {printable(found.example)}")


@click.command(short_help="Show the versions.")
def version() -> None:
    """Show the version of logmlm and of what it stands on."""
    from importlib.metadata import version as version_of

    click.echo(f"logmlm {version_of('logmlm')}")
    for name in ("torch", "transformers", "drain3", "kafka-python", "scikit-learn"):
        click.echo(f"{name} {version_of(name)}")
