"""Which channels of an image are wanted, and what is made of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from .decoded import ALPHA, COLOUR, GREY, Raw
from .source import ImageReadError

ChannelPolicy = Literal["rgb", "grey", "as_is"]
POLICIES = ("rgb", "grey", "as_is")
LUMINANCE = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow's `convert("L")`


class Choice(NamedTuple):
    """What becomes of a file's channels.

    Attributes:
        read: which of them are read, in this order.
        names: what comes out.
        luminance: three are mixed into one.
        repeat: how often one is repeated.
    """

    read: tuple[int, ...]
    names: tuple[str, ...]
    luminance: bool = False
    repeat: int = 1

    def of(self, values: Raw) -> Raw:
        """[C, *S] of the channels that were read, to what comes out."""
        if self.luminance:
            weights = np.array(LUMINANCE, np.float32)
            return np.asarray(np.tensordot(weights, values.astype(np.float32), 1)[None])
        if self.repeat > 1:
            return np.broadcast_to(values, (self.repeat, *values.shape[1:]))
        return values


def choose(
    file: str | os.PathLike[str],
    names: tuple[str, ...],
    wanted: ChannelPolicy | Sequence[int | str],
) -> Choice:
    """Follow a policy, or pick channels by number or name.

    Raises ImageReadError when the file's channels do not allow it, ValueError for no policy.
    """
    if isinstance(wanted, str) and wanted not in POLICIES:
        raise ValueError(f"channels: expected rgb, grey or as_is, got {wanted!r}")
    everything = tuple(range(len(names)))
    if wanted == "as_is":
        return Choice(everything, names)
    if not isinstance(wanted, str):
        return _picked(file, names, wanted)
    kept = everything[:-1] if names[-1] == ALPHA else everything
    if wanted == "rgb" and len(kept) in (1, 3):
        return Choice(kept, COLOUR, repeat=3 if len(kept) == 1 else 1)
    if wanted == "grey" and len(kept) == 1:
        return Choice(kept, GREY)
    if wanted == "grey" and names[: len(kept)] == COLOUR:
        return Choice(kept, GREY, luminance=True)
    raise ImageReadError(
        file, f"has {len(names)} channels ({', '.join(names)}), which channels={wanted!r} cannot "
        "use; read it with channels='as_is', or save the wanted ones"
    )  # fmt: skip


def _picked(
    file: str | os.PathLike[str], names: tuple[str, ...], wanted: Sequence[int | str]
) -> Choice:
    known: dict[int | str, int] = {name: i for i, name in enumerate(names)}
    known |= {i: i for i in range(len(names))}
    wrong = [w for w in wanted if w not in known]
    if wrong or not wanted:
        listed = ", ".join(f"{i} {name!r}" for i, name in enumerate(names))
        raise ImageReadError(file, f"has no channels {wrong}; it has {listed}")
    read = tuple(known[w] for w in wanted)
    return Choice(read, tuple(names[i] for i in read))
