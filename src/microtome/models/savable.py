"""A model that leaves as a folder and comes back from it, or from a checkpoint."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

from torch import Tensor

from ..blueprint import Part, build
from .card import Facts, model_card
from .saving import first_names, read_folder, write_folder
from .usage import Usage


class Savable(Part):
    """Written down as blueprint, weights and usage; subclasses say `facts`.

    Attributes:
        usage: how `predict` reads and tiles images unless told otherwise.
    """

    usage: Usage

    @abstractmethod
    def facts(self) -> Facts:
        """What the model card tells."""

    def save_pretrained(self, folder: str | Path) -> None:
        """Write model.safetensors, config.json, a sealed manifest and a model card."""
        config = {"blueprint": self.blueprint, "usage": self.usage._asdict()}
        write_folder(self, Path(folder), config, model_card(self.facts()))

    @classmethod
    def from_pretrained(
        cls, folder: str | Path, trusted: tuple[str, ...] = ("microtome.",)
    ) -> Self:
        """Read what `save_pretrained` wrote, in eval mode.

        Args:
            folder: a local folder, or `hf-hub:owner/name[@revision]`, for which the network or the
                Hugging Face cache is used.
            trusted: prefixes of class paths that config.json may name.

        Raises FileNotFoundError, CorruptFileError for damaged files, PermissionError for classes
        outside `trusted`, and ValueError for anything else that is not such a model.
        """
        config, state = read_folder(folder)
        return cls.restored(config["blueprint"], state, config["usage"], trusted)

    @classmethod
    def restored(
        cls,
        blueprint: dict[str, Any],
        state: Mapping[str, Tensor],
        usage: dict[str, Any],
        trusted: tuple[str, ...] = ("microtome.",),
        more: Callable[[Self], Mapping[str, Tensor]] = lambda model: {},
    ) -> Self:
        """Build from plain data and weights, in eval mode; nothing is downloaded.

        `more` is called with the model that was built, for weights that are not in `state`.

        Raises PermissionError for classes outside `trusted`, and ValueError when blueprint and
        weights are not of one segmenter.
        """
        model = build(blueprint, trusted)
        if not isinstance(model, cls):
            raise ValueError(
                f"the blueprint is of a {type(model).__name__}, not of a {cls.__name__}"
            )
        try:
            aliases = {n: state[first] for n, first in first_names(model).items() if first in state}
            model.load_state_dict({**aliases, **state, **more(model)})
        except RuntimeError as error:
            raise ValueError(f"weights and blueprint do not fit each other: {error}") from error
        model.usage = Usage.of(usage)
        return model.eval()
