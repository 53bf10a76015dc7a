"""What our own families share: they may begin from weights published for their 2D originals."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from ..weights import KeyMap, LoadReport, State, load_weights, read_state
from . import Backbone, Normalisation

__all__ = ["Family", "Weights"]

log = logging.getLogger("microtome")

IMAGENET = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


class Weights(NamedTuple):
    """Published weights to begin from.

    Attributes:
        path: a local file or folder; None where they are already in.
        normalisation: the statistics they were trained with; ImageNet's unless stated.
        at_least: the share of the backbone's tensors that must be found, 0…1.
        origin: what model cards say of them; filled in by itself, and kept in blueprints.
    """

    path: str | None = None
    normalisation: Normalisation = IMAGENET
    at_least: float = 0.95
    origin: dict[str, str] | None = None


class Family(Backbone):
    """A backbone written for any number of axes, with the names of its 2D original's weights.

    Attributes:
        key_map: how other published names become ours.
        report: what became of every published tensor; None where none was read.
    """

    key_map: ClassVar[KeyMap] = ()
    report: LoadReport | None = None
    weights: Weights | None = None

    def begin(self, weights: Weights | None) -> None:
        """Load published weights, made to fit; the last thing a constructor does.

        Raises ValueError when too little of them fits or the features would not be the published
        ones, and what `read_state` raises.
        """
        self.weights = weights
        if weights is None:
            return
        self.normalisation = weights.normalisation.adapted(self.in_channels)
        self.origin = dict(weights.origin or {})
        if weights.path is None:
            return
        state = self.translated(read_state(weights.path))
        self.report = load_weights(self, state, self.key_map, weights.at_least, adapt=True)
        if lost := self.left_out(state, self.report):
            raise ValueError(f"{weights.path}: features would lack {'; '.join(lost)}")
        log.info("%s: %s", weights.path, self.report)
        name = Path(weights.path).name
        told = {"name": type(self).__name__, "weights": name, "licence": "see its source"}
        self.origin = self.origin or told

    def translated(self, state: State) -> State:
        """Bring tensors into our layout where another name is not enough."""
        return state

    def left_out(self, state: State, report: LoadReport) -> list[str]:
        """Name what of the file's own features is lost here, and what to set; nothing unless told.

        `LoadReport.share` does not see it: it counts this backbone's tensors, not the file's.
        """
        return []

    def restated(self) -> dict[str, Any]:
        """Say that weights are in, not where they were found: rebuilding needs no file."""
        if self.weights is None:
            return {}
        return {"weights": self.weights._replace(path=None, origin=dict(self.origin))}
