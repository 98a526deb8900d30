"""Published UniPHD checkpoints: reading them safely and giving every entry its place in the network."""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from humar_edge.errors import CheckpointError, MissingExtraError

# Upstream name -> name in `humar_edge.models.original.UniPHD`; the first pattern that matches counts. `{text}` is where
# the encoder keeps the Hugging Face network.
_RULES: tuple[tuple[str, str], ...] = (
    (r"backbone\.0\.", "backbone."),
    (r"text_encoder\.text_backbone\.", "{text}"),
    (r"text_proj\.", "transformer.prompts.words."),
    (r"sentence_proj\.", "transformer.prompts.sentence."),
    (r"prompt_proj\.", "transformer.prompts.points."),
    (r"glob_prompt_proj\.", "transformer.prompts.points_sentence."),
    (r"fusion_module\.multihead_attn\.", "transformer.fusion.text."),
    (r"fusion_module\.multihead_attn2\.", "transformer.fusion.points."),
    (r"input_proj\.", "transformer.input_proj."),
    (r"transformer\.level_embed", "transformer.level_embed"),
    (r"transformer\.encoder\.", "transformer.encoder."),
    (r"transformer\.enc_output\.", "transformer.proposals.project."),
    (r"transformer\.enc_output_norm\.", "transformer.proposals.norm."),
    (r"transformer\.enc_out_class_embed\.", "transformer.proposals.classes."),
    (r"transformer\.enc_pose_embed\.", "transformer.proposals.keypoints."),
    (r"transformer\.keypoint_embedding\.", "transformer.keypoint_embedding."),
    (r"transformer\.decoder\.half_pose_ref_point_head\.", "transformer.decoder.position_head."),
    (r"transformer\.decoder\.layers\.", "transformer.decoder.layers."),
    (r"class_embed\.", "transformer.heads.classes."),
    (r"bbox_embed\.", "transformer.heads.boxes."),
    (r"pose_embed\.", "transformer.heads.poses."),
    (r"pose_visi_embed\.", "transformer.heads.visibility."),
    (r"controller\.", "transformer.masks.controller."),
    (r"mask_refine\.(conv[12])_1div([48])\.", r"transformer.masks.refine.\1_\2."),
)
# The decoder's second copy of the heads; the top-level copy wins where both exist.
_ALIAS = re.compile(r"transformer\.decoder\.(?=(class_embed|bbox_embed|pose_embed)\.)")
# Buffers that older libraries saved and that hold nothing learnt: the numbers 0, 1, 2...
_COUNTING_BUFFER = re.compile(r".*\.embeddings\.position_ids")

MODEL_ENTRIES = ("model", "state_dict")
EMA_ENTRIES = ("ema_model", "model_ema", "ema")


@dataclass(frozen=True)
class LoadReport:
    """What became of the entries of a checkpoint.

    Attributes:
        loaded: entries copied into the network.
        aliases: second copies of the heads, given up for the top-level ones.
        constants: entries that hold no learnt value and were checked or need no place.
    """

    loaded: int
    aliases: int
    constants: int

    def __str__(self) -> str:
        return f"{self.loaded} entries loaded, {self.aliases} aliases, {self.constants} constants"


def read_state(path: str | Path, *, ema: bool = False) -> dict[str, Tensor]:
    """Read the state dict of a checkpoint without running any code from the file.

    Args:
        path: a `.safetensors` file or a PyTorch file holding `{'model': state_dict, ...}` or a bare state dict.
        ema: take the averaged copy instead of the plain one.

    Returns:
        Entries without their `module.` prefix.

    Raises:
        CheckpointError: the file is missing, damaged, needs code to be read, or lacks the copy asked for.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path}")
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    return strip_module(_pick_copy(content, ema, path))


def _read_safetensors(path: Path) -> Mapping[str, object]:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as error:
        raise MissingExtraError("safetensors", "train") from error
    try:
        return load_file(path)
    except SafetensorError as error:
        raise CheckpointError(f"{path} is not a safetensors file: {error}") from error


def _read_pickle(path: Path) -> Mapping[str, object]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, EOFError, RuntimeError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(
            f"{path} cannot be read as plain weights ({reason}); save it again as a state dict or as safetensors"
        ) from error
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, not a state dict")
    return content


def _pick_copy(content: Mapping[str, object], ema: bool, path: Path) -> dict[str, Tensor]:
    entries = EMA_ENTRIES if ema else MODEL_ENTRIES
    found = [content[name] for name in entries if isinstance(content.get(name), Mapping)]
    state: object = found[0] if found else content
    if ema and not found:
        raise CheckpointError(f"{path} has no averaged copy (looked for {', '.join(entries)}); load it without EMA")
    # Some trainers wrap the averaged copy once more.
    if isinstance(state, Mapping) and isinstance(state.get("module"), Mapping):
        state = state["module"]
    assert isinstance(state, Mapping)
    strange = [str(name) for name, value in state.items() if not isinstance(value, Tensor)]
    if strange or not state:
        raise CheckpointError(f"{path} is not a state dict: {_listing(strange) or 'it is empty'}")
    return dict(state)


def strip_module(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Drop the prefix that data-parallel wrappers put in front of every name."""
    return {name.removeprefix("module."): tensor for name, tensor in state.items()}


def upstream_to_own(name: str, text: str = "text_encoder.") -> str | None:
    """Own name of an upstream entry (`text` = prefix of the Hugging Face network), or None where there is no place.

    Aliases of the heads map to the same names as the heads.
    """
    name = _ALIAS.sub("", name, count=1)
    for pattern, own in _RULES:
        match = re.match(pattern, name)
        if match:
            return match.expand(own.replace("{text}", text)) + name[match.end() :]
    return None


def text_prefix(model: nn.Module) -> str:
    """Where the text encoder of a network keeps the Hugging Face network, as a prefix of its entries."""
    encoder = model.get_submodule("text_encoder")
    for name, module in encoder.named_modules():
        if hasattr(module, "config") and hasattr(module, "embeddings"):
            return f"text_encoder.{name}." if name else "text_encoder."
    return "text_encoder."


def load_upstream(model: nn.Module, source: str | Path | Mapping[str, Tensor], *, ema: bool = False) -> LoadReport:
    """Fill a `UniPHD` network from a published checkpoint; nothing may be left over on either side.

    Args:
        model: the network, built with the backbone and text encoder of the checkpoint.
        source: a file or a state dict under upstream names.
        ema: take the averaged copy of the file.

    Raises:
        CheckpointError: the file cannot be read, or entries are missing, unexpected, of another shape, or constants
            differ. The network is unchanged then.
    """
    state = strip_module(source) if isinstance(source, Mapping) else read_state(source, ema=ema)
    prefix = text_prefix(model)
    own = model.state_dict()
    values: dict[str, Tensor] = {}
    seen: set[str] = set()
    problems: dict[str, list[str]] = {"missing": [], "unexpected": [], "of another shape": [], "other constants": []}
    aliases = constants = 0
    # Aliases first, so that the top-level copy replaces them.
    for name in sorted(state, key=lambda entry: _ALIAS.match(entry) is None):
        tensor, target = state[name], upstream_to_own(name, prefix)
        if target is None or target not in own:
            if _is_counting_buffer(name, tensor):
                constants += 1
            else:
                problems["unexpected"].append(name)
            continue
        aliases += target in seen
        seen.add(target)
        if own[target].shape != tensor.shape:
            problems["of another shape"].append(f"{name} {list(tensor.shape)} (expected {list(own[target].shape)})")
        elif not own[target].is_floating_point() and not torch.equal(own[target].cpu(), tensor.cpu()):
            problems["other constants"].append(name)
        else:
            values[target] = tensor
    problems["missing"] = [name for name in own if name not in seen]
    if any(problems.values()):
        detail = "; ".join(f"{len(found)} {kind}: {_listing(found)}" for kind, found in problems.items() if found)
        raise CheckpointError(f"the checkpoint does not fit the network: {detail}")
    model.load_state_dict(values, strict=True)
    return LoadReport(len(values), aliases, constants)


def _is_counting_buffer(name: str, tensor: Tensor) -> bool:
    if not _COUNTING_BUFFER.fullmatch(name):
        return False
    return torch.equal(tensor.flatten().cpu(), torch.arange(tensor.numel()))


def _listing(names: list[str], limit: int = 8) -> str:
    rest = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + rest
