"""One run of `humar-edge export`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from humar_edge.bundle import MANIFEST, Bundle
from humar_edge.combos import resolve
from humar_edge.data.refhuman import RefHumanIndex, available_splits
from humar_edge.errors import ConfigError, DataError, ExportError
from humar_edge.export.packing import export_fp32, pack
from humar_edge.export.source import Source, open_source

PROMPTS = ("text", "point")


def export(say: Callable[[str], None], **options: Any) -> Bundle:
    """Run `humar-edge export`; see its help for the options."""
    output: Path = options["output"]
    if (output / MANIFEST).is_file() and not options["force"]:
        raise ExportError(f"{output} exists; add --force to replace it")
    prompts = _prompts(options["prompts"])
    parts = {key: options[key] for key in ("transformer_type", "text_encoder_type", "backbone")}
    combo = resolve(options["combo"], **parts)
    source = open_source(
        options["combo"],
        combo,
        options["checkpoint"],
        untrained=options["untrained"],
        input_size=image_size(options["imgsz"]),
        text_source=options["text_source"],
        ema=options["ema"],
    )
    notes = _prune(source, options["vocabulary"], options["captions"], say)
    exported = export_fp32(source, prompts, options["opset"], options["deform_attn"], say)
    bundle = pack(source, exported, output, name=options["name"], notes=notes)
    total = sum(path.stat().st_size for path in output.iterdir()) / 1e6
    say(f"wrote {output} ({total:.1f} MB)")
    if bundle.warning:
        say(f"warning: {bundle.warning}")
    say(f"next: humar-edge run --model {output} --source PICTURE --text 'the woman in the red coat'")
    return bundle


def image_size(text: str | None) -> tuple[int, int] | None:
    """`H` or `H,W` to (height, width).

    Raises:
        ConfigError: It is neither.
    """
    if text is None:
        return None
    parts = text.replace("x", ",").split(",")
    if len(parts) > 2 or not all(part.strip().isdecimal() for part in parts):
        raise ConfigError(f"--imgsz {text}: give one side or H,W, for example 384 or 384,640")
    return int(parts[0]), int(parts[-1])


def _prompts(text: str) -> list[str]:
    found = [part.strip() for part in text.split(",") if part.strip()]
    for part in found:
        if part not in PROMPTS:
            raise ConfigError(f"--prompts {text}: '{part}' is neither of {', '.join(PROMPTS)}")
    return found


def read_captions(path: Path) -> list[str]:
    """The different captions of a data set in RefHuman format (all its splits), or the lines of a text file.

    Raises:
        DataError: There are none.
    """
    if path.is_file():
        lines = {line.strip() for line in path.read_text(encoding="utf-8").splitlines()} - {""}
    else:
        lines = {entry.caption for split in available_splits(path) for entry in RefHumanIndex.load(path, split)}
    if not lines:
        raise DataError(f"{path} holds no captions")
    return sorted(lines)


def _prune(source: Source, keep: int | None, captions: Path | None, say: Callable[[str], None]) -> list[str]:
    if keep is None:
        return []
    before = source.encoder.tokenizer.get_vocab_size()
    source.prune(keep, read_captions(captions) if captions else ())
    after = source.encoder.tokenizer.get_vocab_size()
    say(f"vocabulary: {after} of {before} word pieces kept")
    return [f"vocabulary of {after} of {before} word pieces; other words are spelled in pieces"]
