"""Pathology foundation models: what is known of each, and how to come by its weights. No torch.

The facts stand in `catalogue.json`. Weights are never part of microtome; most are bound to licences
that everybody has to accept for themselves.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

LOCAL = Path(__file__).with_suffix(".json")


class Entry(NamedTuple):
    """A published encoder.

    Attributes:
        name: what it is called here.
        aliases: other names, in lower case with underscores.
        architecture: timm's name of it.
        options: arguments of timm's constructor; `mlp` and `norm` are codes for its layers.
        dim: channels of a token.
        pooled: channels of the vector it was published to give for an image; None if not known.
        patch: pixels of a patch, in both axes.
        prefix: class and register tokens in front.
        planes: whether it looks at each colour alone, and gives `dim` channels for each.
        parameters: how many it has, without heads.
        native_size: pixels of the images it was trained on.
        positions: how it resamples its positions to other grids: `antialias` as timm does,
            `plain` without antialiasing as transformers does, `dino` by DINOv2's enlarged factor,
            `rotary` not at all.
        mean: of its training images, per channel, in unit range.
        std: their deviation.
        um_per_px: micrometres per pixel that it was made for; empty where nobody says.
        um_per_px_source: who says so.
        licence: as its owner states it.
        gated: whether the hub asks for a login and consent; None where there is nothing public.
        hub_id: its repository on the Hugging Face hub, None where there is none.
        file: its file there.
        other_files: where else the same weights lie, `owner/name:file`.
        revision: the commit that the other facts are of.
        sha256: of the file, where known.
        converter: how the file's names become timm's (`backbones.foundation_weights`).
    """

    name: str
    aliases: tuple[str, ...]
    architecture: str
    options: Mapping[str, Any]
    dim: int
    pooled: int | None
    patch: int
    prefix: int
    planes: bool
    parameters: int
    native_size: int
    positions: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    um_per_px: tuple[float, ...]
    um_per_px_source: str
    licence: str
    gated: bool | None
    hub_id: str | None
    file: str | None
    other_files: tuple[str, ...]
    revision: str | None
    sha256: str | None
    converter: str

    @property
    def out_channels(self) -> int:
        """Channels of its map of a colour image."""
        return self.dim * (3 if self.planes else 1)

    @property
    def place(self) -> str:
        """Where its weights lie, in words."""
        return f"{self.hub_id}: {self.file}" if self.hub_id else "not public"


@cache
def entries() -> dict[str, Entry]:
    """Every model by name, in the order of the file."""
    facts = json.loads(LOCAL.read_text())
    return {name: Entry(name=name, **_fixed(values)) for name, values in facts.items()}


def find(name: str) -> Entry:
    """Return the model of a name, an alias or a hub id; case, hyphens and dots do not matter.

    Raises ValueError, with the nearest names, when there is none.
    """
    known = _spellings()
    key = _spelled(name)
    if key not in known:
        near = dict.fromkeys(known[word] for word in get_close_matches(key, known, 4, 0.5))
        raise ValueError(
            f"no foundation model {name!r}; did you mean {', '.join(near or entries())}? "
            "`microtome models` lists all"
        )
    return entries()[known[key]]


def by_file(sha256: str) -> Entry | None:
    """The model that was published as a file of this sha256."""
    return next((e for e in entries().values() if e.sha256 == sha256), None)


def by_hub_id(hub_id: str) -> Entry | None:
    """The model that was published in this repository."""
    return next((e for e in entries().values() if e.hub_id == hub_id), None)


def steps(entry: Entry) -> list[str]:
    """How a person gets the weights, one thing to do after the other."""
    if entry.hub_id is None:
        return [
            "Its weights are not public: ask its authors.",
            f"Name the file you were given: `weights: /path/to/file` at `name: {entry.name}`.",
        ]
    page = f"https://huggingface.co/{entry.hub_id}"
    consent = [
        f"Log in at {page}, read the licence ({entry.licence}) and ask for access.",
        "Make a token with the right to read at https://huggingface.co/settings/tokens, and type "
        "`hf auth login`.",
    ]
    pinned = f" --revision {entry.revision}" if entry.revision else ""
    return [
        *(consent if entry.gated else [f"Read the licence ({entry.licence}) at {page}."]),
        f"`hf download {entry.hub_id} {entry.file}{pinned}` prints where the file is.",
        f"Name it: `weights: /path/to/{entry.file}` at `name: {entry.name}`; or let microtome "
        "fetch it: `weights: hub`.",
    ]


def _fixed(values: dict[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}


@cache
def _spellings() -> dict[str, str]:
    """Every spelling to its model's name."""
    known: dict[str, str] = {}
    for name, entry in entries().items():
        hub = [entry.hub_id] if entry.hub_id else []
        for word in (name, *entry.aliases, *hub):
            known[_spelled(word)] = name
    return known


def _spelled(name: str) -> str:
    return re.sub(r"[-. ]+", "_", name.strip().lower())
