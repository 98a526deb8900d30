"""Weights and tokenizers from the Hugging Face hub or from installed packages; safe file formats only."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from humar_edge.errors import CheckpointError, MissingExtraError


def packaged_file(package: str, relative: str) -> Path | None:
    """Path of a file inside an installed package, None when the package or the file is missing."""
    spec = find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / relative
        if path.exists():
            return path
    return None


def hub_file(repo: str, names: tuple[str, ...], what: str, advice: str) -> Path:
    """Download the first of several files that a hub repository has (or take it from the local cache).

    Args:
        repo: Repository id on the hub.
        names: File names in order of preference.
        what: What is loaded, for the message.
        advice: What to do instead when the hub cannot be reached.

    Raises:
        CheckpointError: The hub cannot be reached or has none of the files.
    """
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
    except ImportError as error:
        raise MissingExtraError("huggingface_hub", "train") from error
    last: Exception | None = None
    for name in names:
        try:
            return Path(hf_hub_download(repo, name))
        except LocalEntryNotFoundError as error:  # offline; another of the names may be in the cache
            last = error
        except EntryNotFoundError:
            continue
        except Exception as error:  # the client raises many kinds: DNS, proxies, HTTP, access
            raise unreachable(repo, what, advice, error) from error
    if last is not None:
        raise unreachable(repo, what, advice, last) from last
    raise CheckpointError(f"{what}: the hub repository '{repo}' has none of {', '.join(names)}; {advice}")


def unreachable(repo: str, what: str, advice: str, error: Exception) -> CheckpointError:
    """The error for weights that are neither cached nor downloadable."""
    return CheckpointError(f"{what}: cannot get '{repo}' from the hub or its cache ({type(error).__name__}); {advice}")


def read_tensors(path: str | Path) -> dict[str, Any]:
    """Read a state dict from .safetensors, or from a PyTorch file with `weights_only=True` (no code is unpickled).

    A nested {'model': ...} or {'state_dict': ...} is unwrapped.

    Returns:
        Names and tensors, on the CPU.

    Raises:
        CheckpointError: The file is missing or cannot be read safely.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"weights file '{path}' does not exist")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        import torch

        found = torch.load(path, map_location="cpu", weights_only=True)
    except ImportError:
        raise
    except Exception as error:  # pickle, zip and header errors of many types
        raise CheckpointError(
            f"'{path}' is not a file of plain tensors ({type(error).__name__}); save a state dict or .safetensors"
        ) from error
    for key in ("model", "state_dict"):
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
    if not isinstance(found, dict) or not all(hasattr(value, "shape") for value in found.values()):
        raise CheckpointError(f"'{path}' does not hold a state dict of tensors")
    return found
