"""What to be warned of, before training, about an encoder that was trained by others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import log2

from ..backbones import Backbone

HALF_A_DOUBLING = 0.5


def doubts(backbone: Backbone, spacing: Sequence[float] | None) -> Iterator[str]:
    """Images magnified unlike its own by more than half a doubling; weights that know nothing.

    Args:
        backbone: whose `origin` is empty for random weights; `um_per_px` there lists what published
            ones were made for.
        spacing: micrometres per pixel and axis of the images; None when unknown.
    """
    told = backbone.origin.get("um_per_px", "")
    if spacing is not None and told:
        made_for = [float(value) for value in told.split(",")]
        if min(abs(log2(max(spacing) / value)) for value in made_for) > HALF_A_DOUBLING:
            yield (
                f"images have {max(spacing):g} µm per pixel, {backbone.origin['name']} was made "
                f"for {told}: expect less of it, or bring images there first (MONAI's Spacingd "
                "among the transforms)"
            )
    frozen = sum(p.numel() for p in backbone.parameters() if not p.requires_grad)
    if frozen and not backbone.origin:
        yield (
            f"{frozen / 1e6:.2f} M parameters of the encoder are random and are not trained: give "
            "its published file as `weights` (`microtome models NAME` tells how to get it), or "
            "train all of it (`mode: full`)"
        )
