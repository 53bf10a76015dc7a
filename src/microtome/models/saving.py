"""A model as a folder: weights as safetensors, config.json, a sealed manifest, a card."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from safetensors.torch import save_file
from torch import nn

from ..files import seal, verify, whole
from ..weights import State, read_state

WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"
HUB = "hf-hub:"
FORMAT = 1
PACKAGES = ("microtome", "torch", "timm", "monai")


def write_folder(model: nn.Module, folder: Path, config: Mapping[str, Any], card: str) -> None:
    """Write every file whole. The manifest leaves the card out: people complete it by hand."""
    state, firsts = model.state_dict(), set(first_names(model).values())
    with whole(folder / WEIGHTS) as part:
        save_file({k: v.cpu().contiguous() for k, v in state.items() if k in firsts}, part)
    facts = {"format": FORMAT, "versions": {p: version(p) for p in PACKAGES}, **config}
    with whole(folder / CONFIG) as part:
        part.write_text(json.dumps(facts, indent=1) + "\n")
    seal(folder, [CONFIG, WEIGHTS])
    with whole(folder / CARD) as part:
        part.write_text(card)


def first_names(model: nn.Module) -> dict[str, str]:
    """Every name in the state, to the first name of the same tensor.

    A network may hold a part twice (MONAI's DynUNet does); safetensors wants each tensor once.
    """
    firsts: dict[int, str] = {}
    named = model.state_dict(keep_vars=True)
    return {name: firsts.setdefault(id(tensor), name) for name, tensor in named.items()}


def read_folder(place: str | Path) -> tuple[dict[str, Any], State]:
    """Verify a folder against its manifest and read config and weights.

    Raises FileNotFoundError when something is missing, CorruptFileError when something is damaged,
    and ValueError when it is no such folder, or one of a later format.
    """
    folder = _found(place)
    missing = [n for n in (CONFIG, WEIGHTS) if not (folder / n).is_file()]
    if missing:
        raise FileNotFoundError(
            f"{folder}: {' and '.join(missing)} missing; expected what `save_pretrained` wrote "
            "(weights are read from safetensors only)"
        )
    verify(folder)
    try:
        config = json.loads((folder / CONFIG).read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"{folder / CONFIG}: not JSON ({error})") from error
    if not isinstance(config, dict) or "blueprint" not in config:
        raise ValueError(f"{folder / CONFIG}: not written by `save_pretrained`: no `blueprint`")
    if config.get("format") != FORMAT:
        raise ValueError(
            f"{folder / CONFIG}: format {config.get('format')}, this version reads {FORMAT}; "
            f"it was written with {config.get('versions')}"
        )
    return config, read_state(folder / WEIGHTS)


def _found(place: str | Path) -> Path:
    if not str(place).startswith(HUB):
        folder = Path(place)
        if not folder.is_dir():
            raise FileNotFoundError(
                f"{folder}: no such folder; a model on the Hugging Face hub is {HUB}OWNER/NAME"
            )
        return folder
    name, _, revision = str(place).removeprefix(HUB).partition("@")
    wanted = [WEIGHTS, CONFIG, CARD, "MANIFEST.json"]
    return Path(snapshot_download(name, revision=revision or None, allow_patterns=wanted))
