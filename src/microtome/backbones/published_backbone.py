"""What backbones out of timm's models share: their arguments, their origin, and being frozen."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any, Self

from torch import nn

from ..files import sha256
from ..weights import weights_file
from . import Backbone, Normalisation
from .published import HUB, NONE, Config, Published, came_from, statistics

__all__ = ["PublishedBackbone"]


class PublishedBackbone(Backbone):
    """One of timm's models as a backbone.

    Args:
        name: timm's name, `hf-hub:owner/name` or `local-dir:FOLDER`.
        weights: `none`, `hub`, or a local file or folder.
        in_channels: C of the images; published stems are adapted as timm does.
        options: further arguments of timm's constructor, such as `depth`, `drop_path_rate` or, for
            the levels of a pyramid, `out_indices`.
        freeze: hold all weights fixed. Checkpoints then name the file they came from, instead of
            holding a copy; see `docs/how-to/share.md`.
        normalisation: the statistics its weights were trained with; timm's by default.
        origin: where the weights came from; filled in by itself, and kept in blueprints.

    Raises ValueError when the name is a model of the other kind, and for normalisation of other
    channels.
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
    ) -> None:
        super().__init__()
        self.found, self.in_channels = self._find(name, weights, options), in_channels
        outline = self.found.outline()
        network = self._made(outline)
        self.found.fill(network, outline, self._stem_channels)
        self._describe(name, network.pretrained_cfg, normalisation, origin)
        self.is_frozen = freeze
        if freeze:  # running statistics are weights too
            self.requires_grad_(False).eval()

    def _find(self, name: str, weights: str, options: dict[str, Any] | None) -> Published:
        """Look the name up."""
        return Published.find(name, weights, options)

    @property
    def _stem_channels(self) -> int:
        """Channels that timm's model sees at once."""
        return self.in_channels

    @abstractmethod
    def _made(self, outline: Any) -> Any:
        """Build and keep timm's model, and say what it gives.

        Raises ValueError when it is of the other kind.
        """

    def _describe(
        self, name: str, config: Config, normalisation: Normalisation | None, given: Any
    ) -> None:
        self.normalisation = normalisation or statistics(config, self.in_channels)
        if len(self.normalisation.mean) not in (1, self.in_channels):
            raise ValueError(
                f"{self.in_channels} channels but {len(self.normalisation.mean)} means"
            )
        self.origin = self._came_from(name, config) if given is None else dict(given)

    def _came_from(self, name: str, config: Config) -> dict[str, str]:
        """What cards tell of the weights; empty when they are random."""
        return came_from(name, self.found, config)

    def train(self, mode: bool = True) -> Self:
        """Frozen, it stays in evaluation."""
        return super().train(mode and not self.is_frozen)

    @property
    def named_weights(self) -> dict[str, str] | None:
        """Frozen weights that a file holds, by `name`, `sha256` and `path`."""
        if self.found.weights in (NONE, HUB) or all(p.requires_grad for p in self.parameters()):
            return None
        path = str(weights_file(self.found.weights).absolute())
        return {"name": self.origin["name"], "sha256": self.origin["sha256"], "path": path}

    @property
    def named_keys(self) -> frozenset[str]:
        """All names where everything is frozen, else those of frozen parameters.

        Running statistics change as soon as anything is trained.
        """
        trained = {name for name, p in self.named_parameters() if p.requires_grad}
        if not trained:
            return frozenset(self.state_dict())
        return frozenset(name for name, _ in self.named_parameters()) - trained

    def refill(self, path: Path) -> None:
        """Load the file again that the weights came from.

        Raises ValueError when it is another one.
        """
        if sha256(path) != self.origin.get("sha256"):
            raise ValueError(f"{path}: not the file that this backbone was trained on")
        self.found = self.found._replace(weights=str(path))
        self.found.fill(self._network, self.found.outline(), self._stem_channels)

    @property
    @abstractmethod
    def _network(self) -> nn.Module:
        """What timm made."""

    def restated(self) -> dict[str, Any]:
        """Say what was built, not where it was found: rebuilding needs no network and no file."""
        return {
            "name": self.found.architecture,
            "weights": NONE,
            "options": self.found.options,
            "normalisation": self.normalisation,
            "origin": self.origin,
        }
