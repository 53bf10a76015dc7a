"""timm's models by name: what a name means, how it is built, and how weights get into it.

A name is one of timm's (`resnet18`, `vit_tiny_patch16_224.augreg_in21k`), `hf-hub:owner/name` or
`local-dir:FOLDER`, the latter two with timm's config.json. No name ever runs code from elsewhere:
the architectures are timm's own.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

import timm
import torch
from timm.models import adapt_input_conv
from timm.models._hub import load_model_config_from_hf, load_model_config_from_path
from torch import Tensor, nn

from ..catalogue import by_file
from ..files import sha256
from ..weights import State, load_weights, read_state, weights_file
from . import Normalisation
from .licences import UNKNOWN, licence_of
from .low_rank import plain_names

Options = Mapping[str, Any]
Config = dict[str, Any]  # timm's pretrained_cfg
Convert = Callable[[State, Any], State]  # published tensors to timm's names, for a model of timm's

NONE, HUB = "none", "hub"

log = logging.getLogger("microtome")


class Published(NamedTuple):
    """What a name stands for.

    Attributes:
        architecture: timm's name of it, to be built without the network.
        config: timm's pretrained_cfg, where the name brought one.
        options: arguments of timm's constructor.
        weights: `none`, `hub`, or the local file or folder to read.
        convert: how tensors of its file get timm's names, all of them; timm's own way where None.
    """

    architecture: str
    config: Config | None
    options: dict[str, Any]
    weights: str
    convert: Convert | None = None

    @classmethod
    def find(cls, name: str, weights: str, options: Options | None) -> Published:
        """Look a name up; only `hf-hub:` names need the network (or its cache) for that.

        Raises ValueError for a name that timm does not know and OSError when a config.json is not
        to be had.
        """
        source, _, place = name.partition(":")
        config, extra, architecture = None, dict[str, Any](), name
        if source == "hf-hub":
            config, architecture, extra = _from_hub(place)
        elif source == "local-dir":
            config, architecture, extra = load_model_config_from_path(place)
            weights = place if weights == HUB else weights
        _check_known(architecture)
        if config and config.get("fixed_input_size"):
            extra = {"img_size": list(config["input_size"][1:]), **extra}
        given = {k: v for k, v in extra.items() if k not in ("num_classes", "in_chans")}
        return cls(architecture, config, {**given, **(options or {})}, weights)

    def create(self, **more: Any) -> Any:
        """Build it, with `weights: hub` filled from the hub's cache or the network.

        Raises ValueError for options that the architecture does not take, and OSError when weights
        are not to be had.
        """
        try:
            return timm.create_model(
                self.architecture,
                pretrained=self.weights == HUB,
                pretrained_cfg=self.config,
                **{**self.options, **more},
            )
        except TypeError as error:
            raise ValueError(f"{self.architecture} does not take these options: {error}") from error
        except RuntimeError as error:
            raise ValueError(f"{self.architecture} cannot be built: {error}") from error
        except OSError as error:
            raise OSError(_unreachable(self.architecture, error)) from error

    def outline(self) -> Any:
        """The complete model without memory for its weights: its class, names and shapes."""
        options = {k: v for k, v in self.options.items() if k != "out_indices"}
        with torch.device("meta"):
            return self._replace(weights=NONE, options=options).create()

    def fill(self, model: nn.Module, outline: Any, in_channels: int) -> None:
        """Load the weights file, where `weights` names one, into all or part of the architecture.

        Foreign names are converted as timm does, and the stem is adapted to `in_channels`.

        Raises ValueError when the file lacks anything that `model` has.
        """
        if self.weights in (NONE, HUB):
            return
        state = _with_stem(self._read(outline), first_convolutions(outline), in_channels)
        own = {_flat(plain): key for plain, key in plain_names(model.state_dict()).items()}
        named = {own.get(_flat(k), k): v for k, v in state.items()}
        try:
            report = load_weights(model, named, at_least=1.0, only=own.values())
        except ValueError as error:
            raise ValueError(
                f"{self.weights}: not weights of {self.architecture}; {error}"
            ) from error
        if self.convert and report.unused:
            raise ValueError(f"{self.weights}: more than {self.architecture} has; {report}")
        log.info("%s: %s", self.weights, report)

    def _read(self, outline: Any) -> State:
        state = read_state(self.weights)
        own = getattr(sys.modules[type(outline).__module__], "checkpoint_filter_fn", None)
        convert = self.convert or own
        try:
            return state if convert is None else dict(convert(state, outline))
        except KeyError as error:
            raise ValueError(
                f"{self.weights}: not weights of {self.architecture}; {error} is missing"
            ) from error


def first_convolutions(model: Any) -> tuple[str, ...]:
    """Names of the convolutions that see the image."""
    named = model.pretrained_cfg.get("first_conv") or ()
    return (named,) if isinstance(named, str) else tuple(named)


def statistics(config: Config, in_channels: int) -> Normalisation:
    """Mean and deviation for any number of channels, following timm's adaptation of the stem."""
    return Normalisation(config["mean"], config["std"]).adapted(in_channels)


def came_from(name: str, found: Published, config: Config) -> dict[str, str]:
    """Where weights came from, for model cards; empty when they came from nowhere."""
    if found.weights == NONE:
        return {}
    if found.weights == HUB:
        place = str(config.get("hf_hub_id") or HUB)
        licence = licence_of(place, config.get("license"))
        return {"name": name, "weights": place, "licence": licence}
    mark = sha256(weights_file(found.weights))
    known = by_file(mark)
    called, licence = (str(known.hub_id), known.licence) if known else (name, UNKNOWN[1])
    return {"name": called, "weights": Path(found.weights).name, "licence": licence, "sha256": mark}


def _check_known(architecture: str) -> None:
    stem, _, tag = architecture.partition(".")
    if not timm.is_model(stem):
        near = get_close_matches(stem, timm.list_models(), 4) or ["timm.list_models()"]
        raise ValueError(f"timm has no model {architecture!r}; did you mean {', '.join(near)}?")
    published = [name.partition(".")[2] for name in timm.list_pretrained(f"{stem}.*")]
    if tag and tag not in published:
        raise ValueError(f"timm has no weights {tag!r} for {stem}, but {', '.join(published)}")


def _from_hub(place: str) -> tuple[Config, str, dict[str, Any]]:
    try:
        found: tuple[Config, str, dict[str, Any]] = load_model_config_from_hf(place)
    except OSError as error:
        raise OSError(_unreachable(f"hf-hub:{place}", error)) from error
    return found


def _unreachable(name: str, error: OSError) -> str:
    reason = str(error).partition("\n")[0]
    return (
        f"{name} is neither in the cache nor to be had from the hub ({reason}); without a network, "
        "say `weights: none`, or give a local file or folder"
    )


def _flat(key: str) -> str:
    """One spelling for a complete model and for its feature extractor, which flattens names."""
    return key.removeprefix("model.").replace("_", ".")


def _with_stem(state: State, names: tuple[str, ...], in_channels: int) -> State:
    stems: dict[str, Tensor] = {}
    for key in (f"{n}.weight" for n in names):
        weight = state.get(key)
        if weight is not None and weight.ndim == 4 and weight.shape[1] == 3 != in_channels:
            stems[key] = adapt_input_conv(in_channels, weight)
    return {**state, **stems}
