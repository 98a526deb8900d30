"""`humar-edge synth`: render synthetic scenes in RefHuman format."""

from __future__ import annotations

import os
from pathlib import Path

import click


@click.command("synth")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--scenes", type=int, required=True, help="Number of pictures.")
@click.option("--val-share", type=float, default=0.1, show_default=True, help="Share of scenes in RefHuman_val.json.")
@click.option("--size", type=int, default=384, show_default=True, help="Longer side of the pictures, pixels.")
@click.option(
    "--aspect",
    type=click.Choice(["square", "random"]),
    default="square",
    show_default=True,
    help="Shape of the pictures.",
)
@click.option(
    "--negatives", type=float, default=0.3, show_default=True, help="Captions that fit nobody, per ordinary caption."
)
@click.option("--captions", type=int, default=2, show_default=True, help="Captions tried per person.")
@click.option(
    "--people", type=int, nargs=2, default=(1, 5), show_default=True, metavar="MIN MAX", help="People per scene."
)
@click.option("--backgrounds", type=click.Path(path_type=Path), help="Folder of photos to use as backgrounds.")
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed gives the same data.")
@click.option("--workers", type=int, default=None, help="Processes [default: one per core].")
@click.option("--force", is_flag=True, help="Overwrite an earlier data set in OUT.")
def command(
    out: Path,
    scenes: int,
    val_share: float,
    size: int,
    aspect: str,
    negatives: float,
    captions: int,
    people: tuple[int, int],
    backgrounds: Path | None,
    seed: int,
    workers: int | None,
    force: bool,
) -> None:
    """Render SCENES pictures of posed, dressed people with captions, keypoints, masks and scribbles into OUT."""
    from humar_edge.cli.progress import progress_bar
    from humar_edge.data.synth.backgrounds import photos_in
    from humar_edge.data.synth.scene import SceneConfig
    from humar_edge.data.synth.writer import DatasetConfig, check_folder, write_dataset
    from humar_edge.errors import DataError

    if backgrounds is not None and not backgrounds.is_dir():
        raise DataError(f"no folder {backgrounds}; give --backgrounds a folder of photos")
    photos = tuple(photos_in(backgrounds)) if backgrounds is not None else ()
    look = SceneConfig(size=size, aspect=aspect, people=people, photos=photos)
    config = DatasetConfig(scenes, val_share, negatives, captions, seed, look)
    check_folder(out, force)
    with progress_bar("scenes", scenes) as step:
        counts = write_dataset(
            out,
            config,
            workers=workers if workers is not None else os.cpu_count() or 1,
            force=force,
            on_scene=step,
        )
    for split, count in counts.items():
        click.echo(
            f"{split}: {count['scenes']} scenes, {count['captions']} captions, {count['absent']} of them fit nobody"
        )
    click.echo(f"wrote {out}; next: humar-edge data check {out}")
