"""The class table: one object from the data to the checkpoint."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from typing import NamedTuple

Colour = tuple[int, int, int]
MOST_OVERLAPPING = 6  # classes; their sets are 64


class Classes(NamedTuple):
    """Names, colours and kinds of the K classes; background is a class like any other.

    Attributes:
        names: K names; `len(classes)` is the length of the tuple, `classes.num_classes` is K.
        things: for each class, whether its objects are counted; empty means none are.
        colours: for each class red, green, blue in 0…255; empty means the default palette.
        ignore_index: the value of pixels that are not judged; it is none of the K classes.
        exclusive: False for multilabel tasks, with one sigmoid per member: the classes are then all
            sets of `members`, of which a pixel may have several; see `overlapping`.
    """

    names: tuple[str, ...]
    things: tuple[bool, ...] = ()
    colours: tuple[Colour, ...] = ()
    ignore_index: int = 255
    exclusive: bool = True

    @classmethod
    def overlapping(
        cls, names: Sequence[str], colours: Sequence[Colour] = (), ignore_index: int = 255
    ) -> Classes:
        """The table of classes of which a pixel may have several, or none.

        Its classes are all sets of them: bit k of a set's number says whether class k is in it, so
        0 is `none`, and 1, 2, 4 … are the single ones. Raises ValueError for none or too many.
        """
        if not 1 <= len(names) <= MOST_OVERLAPPING:
            raise ValueError(
                f"expected 1 to {MOST_OVERLAPPING} classes that overlap, got {len(names)}"
            )
        own = list(colours) or [_default_colour(k + 1) for k in range(len(names))]
        sets = [[k for k in range(len(names)) if n >> k & 1] for n in range(2 ** len(names))]
        return cls(
            tuple(" + ".join(names[k] for k in one) or "none" for one in sets),
            colours=tuple(_mixed([own[k] for k in one]) for one in sets),
            ignore_index=ignore_index,
            exclusive=False,
        )

    @property
    def members(self) -> tuple[str, ...]:
        """The classes that a model judges: all, or those whose sets the classes are."""
        if self.exclusive:
            return self.names
        return tuple(self.names[1 << k] for k in range(self.num_classes.bit_length() - 1))

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.names)

    @property
    def palette(self) -> tuple[Colour, ...]:
        """K colours: the given ones, else black for class 0 and evenly turned hues."""
        return self.colours or tuple(_default_colour(i) for i in range(self.num_classes))

    def checked(self) -> Classes:
        """Return the table itself, or raise ValueError listing everything wrong with it."""
        wrong = []
        if not self.names:
            wrong.append("there is no class")
        if len(set(self.names)) < self.num_classes:
            wrong.append(f"names repeat: {self.names}")
        for field in ("things", "colours"):
            given = len(getattr(self, field))
            if given not in (0, self.num_classes):
                wrong.append(f"{self.num_classes} names but {given} {field}")
        if not self.exclusive and self.num_classes not in _SETS:
            wrong.append(
                f"exclusive is False, but {self.num_classes} classes are not all sets of some: "
                "make the table with Classes.overlapping"
            )
        if 0 <= self.ignore_index < self.num_classes:
            taken = self.names[self.ignore_index]
            wrong.append(f"ignore_index {self.ignore_index} is also the class {taken!r}")
        if wrong:
            raise ValueError("class table: " + "; ".join(wrong))
        return self


_SETS = tuple(2**count for count in range(1, MOST_OVERLAPPING + 1))


def _mixed(colours: Sequence[Colour]) -> Colour:
    """The mean; black of none."""
    red, green, blue = (sum(c[i] for c in colours) // max(len(colours), 1) for i in range(3))
    return red, green, blue


def _default_colour(index: int) -> Colour:
    """Golden-ratio hues: any number of classes, neighbours far apart."""
    if index == 0:
        return (0, 0, 0)
    red, green, blue = colorsys.hsv_to_rgb((0.33 + 0.618034 * (index - 1)) % 1, 0.75, 0.95)
    return round(255 * red), round(255 * green), round(255 * blue)
