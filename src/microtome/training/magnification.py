"""Whether images are magnified as an encoder's own were."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log2

HALF_A_DOUBLING = 0.5


def unlike(spacing: Sequence[float] | None, origin: Mapping[str, str]) -> str | None:
    """What to know when they are not, by more than half a doubling; None when they are.

    Args:
        spacing: micrometres per pixel and axis of the images; None when unknown.
        origin: of the encoder's weights; `um_per_px` lists what they were made for.
    """
    told = origin.get("um_per_px", "")
    if spacing is None or not told:
        return None
    made_for = [float(value) for value in told.split(",")]
    if min(abs(log2(max(spacing) / value)) for value in made_for) <= HALF_A_DOUBLING:
        return None
    return (
        f"images have {max(spacing):g} µm per pixel, {origin['name']} was made for {told}: expect "
        "less of it, or bring images there first (MONAI's Spacingd among the transforms)"
    )
