"""Pathology foundation models by name: see `microtome models` and `catalogue.json`.

All of them are timm's architectures; no code of theirs is run.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import hf_hub_download
from timm.layers import SwiGLUPacked
from torch import Tensor, nn
from torch.nn import functional as F

from ..catalogue import Entry, find, steps
from ..files import sha256
from ..weights import weights_file
from . import Normalisation, Tokens
from .foundation_weights import CONVERTERS
from .pretrained import PretrainedViT
from .published import HUB, NONE, Config, Published

__all__ = ["FoundationViT"]

log = logging.getLogger("microtome")


class FoundationViT(PretrainedViT):
    """A plain vision transformer out of the catalogue; any image size that patches divide.

    Args:
        name: as `microtome models` lists them; an alias or a hub id will do, in any case.
        weights: `none`, `hub`, or the local file or folder; only `hub` uses the network.
        in_channels: C of the images; published stems are adapted.
        options: changes to timm's constructor arguments, such as `depth` or `drop_path_rate`.
        freeze: hold all weights fixed. Checkpoints then name the file they came from, instead of
            holding a copy; see `docs/how-to/share.md`.
        normalisation: the statistics its weights were trained with; the catalogue's by default.
        origin: where the weights came from; filled in by itself, and kept in blueprints.
        emb_dim: channels of a token; never needed, checked if given.
        patch: pixels of a patch; never needed, checked if given.

    Raises ValueError for unknown names, for weights of anything else, and where `emb_dim` or
    `patch` contradict the model; OSError, saying what to do, when the hub does not give the file.
    """

    def __init__(
        self,
        name: str,
        weights: str = NONE,
        in_channels: int = 3,
        options: dict[str, Any] | None = None,
        freeze: bool = False,
        normalisation: Normalisation | None = None,
        origin: dict[str, str] | None = None,
        emb_dim: int | None = None,
        patch: int | None = None,
    ) -> None:
        self.entry = find(name)  # plain values may come before torch's own constructor
        self.told = dict(options or {})
        _check_given(self.entry, emb_dim, patch)
        super().__init__(
            self.entry.name, weights, in_channels, options, freeze, normalisation, origin
        )

    def embed(
        self, image: Tensor, spacing: Tensor | None = None, keep: Tensor | None = None
    ) -> Tokens:
        """Cut into tokens [B, prefix + N, C]; models of planes see each channel as an image.

        Their batch is [B x channels] from here to `to_map`.
        """
        if self.entry.planes:
            image = image.flatten(0, 1)[:, None]
            keep = None if keep is None else keep.repeat_interleave(self.in_channels, 0)
        return super().embed(image, spacing, keep)

    def to_map(self, tokens: Tokens) -> Tensor:
        """Final norm, prefix off: [B, C, *grid], the channels of planes one after the other."""
        maps = super().to_map(tokens)
        if self.entry.planes:
            maps = maps.unflatten(0, (-1, self.in_channels)).flatten(1, 2)
        return maps

    def restated(self) -> dict[str, Any]:
        """Say what was built, not where it was found: rebuilding needs no network and no file."""
        return {**super().restated(), "name": self.entry.name, "options": self.told}

    def _find(self, name: str, weights: str, options: dict[str, Any] | None) -> Published:
        entry = self.entry
        config = {
            "mean": entry.mean,
            "std": entry.std,
            "first_conv": "patch_embed.proj",
            "input_size": (3, entry.native_size, entry.native_size),
        }
        place = str(download(entry)) if weights == HUB else weights
        given = {**_layers(entry.options), **self.told}
        return Published(entry.architecture, config, given, place, CONVERTERS[entry.converter])

    @property
    def _stem_channels(self) -> int:
        return 1 if self.entry.planes else self.in_channels

    def _made(self, outline: Any) -> Any:
        vit = super()._made(outline)
        if self.entry.planes:
            self.spec = self.spec._replace(channels=(self.in_channels * self.embed_dim,))
        return vit

    def _came_from(self, name: str, config: Config) -> dict[str, str]:
        if self.found.weights == NONE:
            return {}
        entry, file = self.entry, weights_file(self.found.weights)
        mark = sha256(file)
        if entry.sha256 and mark != entry.sha256:
            log.warning("%s: fits %s, but is not its published file", file, entry.name)
        told = {"name": entry.hub_id or entry.name, "weights": file.name, "sha256": mark}
        spacings = ", ".join(f"{s:g}" for s in entry.um_per_px)
        return {**told, "licence": entry.licence, **({"um_per_px": spacings} if spacings else {})}

    def _placed(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        native = tuple(self.vit.patch_embed.grid_size)
        as_timm = self.entry.positions in ("antialias", "rotary")
        if as_timm or tuple(x.shape[1:3]) == native:
            return super()._placed(x)
        return self._with_positions(x, native), None

    def _with_positions(self, x: Tensor, native: tuple[int, ...]) -> Tensor:
        """Patches [B, *grid, C] as tokens, their positions resampled as the original does."""
        vit, grid = self.vit, tuple(x.shape[1:3])
        own = 0 if vit.no_embed_class else vit.num_prefix_tokens
        known = vit.pos_embed[:, own:].mT.unflatten(2, native).float()  # [1, C, *native]
        where = _resampled(known, grid, self.entry.positions).to(x.dtype)
        tokens = x.flatten(1, 2) + where.flatten(2).mT
        front = [t for t in (vit.cls_token, vit.reg_token) if t is not None]
        if not front:
            return tokens
        first = torch.cat(front, 1)
        first = first + vit.pos_embed[:, :own] if own else first
        return torch.cat([first.expand(len(x), -1, -1).to(x.dtype), tokens], 1)


def download(entry: Entry) -> Path:
    """Fetch the published file, or find it in the Hugging Face cache.

    Raises OSError, with the steps that a person takes, when it is not to be had; ValueError when it
    is damaged.
    """
    places = [(f"{entry.hub_id}:{entry.file}", entry.revision)] if entry.hub_id else []
    places += [(other, None) for other in entry.other_files]
    reasons = []
    for place, revision in places:
        owner, _, file = place.partition(":")
        try:
            path = Path(hf_hub_download(owner, file, revision=revision))
        except OSError as error:
            reasons.append(f"{place}: {str(error).partition(chr(10))[0]}")
            continue
        if revision and entry.sha256 and sha256(path) != entry.sha256:
            raise ValueError(f"{path}: damaged; delete it and fetch it again")
        return path
    ways = "".join(f"\n  {i}. {step}" for i, step in enumerate(steps(entry), 1))
    raise OSError(f"no weights of {entry.name} ({'; '.join(reasons) or 'not public'}):{ways}")


def _check_given(entry: Entry, emb_dim: int | None, patch: int | None) -> None:
    """Raise ValueError, with both numbers of each, where a config contradicts the model."""
    wrong = [
        f"{key}: {given} given, {entry.name} has {true}"
        for key, given, true in (("emb_dim", emb_dim, entry.dim), ("patch", patch, entry.patch))
        if given not in (None, true)
    ]
    if wrong:
        raise ValueError(f"{'; '.join(wrong)}: leave them out, they are derived")


def _layers(options: Mapping[str, Any]) -> dict[str, Any]:
    """The constructor's arguments, with layers for their codes."""
    made = {k: v for k, v in options.items() if k not in ("mlp", "norm")}
    if options.get("mlp") == "swiglu_packed":
        made |= {"mlp_layer": SwiGLUPacked, "act_layer": nn.SiLU}
    if "norm" in options:
        eps = float(str(options["norm"]).removeprefix("layernorm_eps"))
        made["norm_layer"] = partial(nn.LayerNorm, eps=eps)
    return made


def _resampled(positions: Tensor, grid: tuple[int, ...], rule: str) -> Tensor:
    """[1, C, *S] to [1, C, *grid], `plain` or as DINOv2, whose factors are a tenth too large."""
    if rule == "plain":
        return F.interpolate(positions, size=grid, mode="bicubic")
    factors = [(n + 0.1) / old for n, old in zip(grid, positions.shape[2:], strict=True)]
    return F.interpolate(positions, scale_factor=factors, mode="bicubic")
