"""The class table: one object from the data to the checkpoint."""

from __future__ import annotations

import colorsys
from typing import NamedTuple

Colour = tuple[int, int, int]


class Classes(NamedTuple):
    """Names, colours and kinds of the K classes; background is a class like any other.

    Attributes:
        names: K names; `len(classes)` is the length of the tuple, `classes.num_classes` is K.
        things: for each class, whether its objects are counted; empty means none are.
        colours: for each class red, green, blue in 0…255; empty means the default palette.
        ignore_index: the value of pixels that are not judged; it is none of the K classes.
        exclusive: False for multilabel tasks, with one sigmoid per class.
    """

    names: tuple[str, ...]
    things: tuple[bool, ...] = ()
    colours: tuple[Colour, ...] = ()
    ignore_index: int = 255
    exclusive: bool = True

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
        if 0 <= self.ignore_index < self.num_classes:
            taken = self.names[self.ignore_index]
            wrong.append(f"ignore_index {self.ignore_index} is also the class {taken!r}")
        if wrong:
            raise ValueError("class table: " + "; ".join(wrong))
        return self


def _default_colour(index: int) -> Colour:
    """Golden-ratio hues: any number of classes, neighbours far apart."""
    if index == 0:
        return (0, 0, 0)
    red, green, blue = colorsys.hsv_to_rgb((0.33 + 0.618034 * (index - 1)) % 1, 0.75, 0.95)
    return round(255 * red), round(255 * green), round(255 * blue)
