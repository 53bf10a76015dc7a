"""From what files call the classes of objects to class indices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...structures import Classes
from ..records import Reading
from ..spelling import unknown
from ..stores import ImageReadError

OTHERS = "*"  # any word that is not known
NOTHING = ""  # objects without a word
IGNORED = "Ignore*"  # as QuPath calls what is not to be judged
_TOLD = 5


def class_indices(
    file: Path, words: Sequence[str | None], classes: Classes, reading: Reading
) -> npt.NDArray[np.int64]:
    """[N] the class of each object by its word.

    A word is the name of a class, unless `reading.object_classes` says it; there "*" stands for all
    other words and "" for objects without one. Those are class 1 where there is only one class of
    objects.

    Raises ImageReadError for words that lead to no class.
    """
    known = {name: index for index, name in enumerate(classes.names)}
    known = {IGNORED: classes.ignore_index} | known | dict(reading.object_classes or {})
    if classes.num_classes == 2:
        known = {NOTHING: 1} | known
    said = [NOTHING if word is None else word for word in words]
    if OTHERS not in known:
        _refuse(file, Counter(word for word in said if word not in known), list(known))
    other = known.get(OTHERS, 0)
    return np.array([known.get(word, other) for word in said], np.int64)


def _refuse(file: Path, words: Counter[str], known: Sequence[str]) -> None:
    if not words:
        return
    way_out = 'say their class, or 0 to leave them out: "object_classes": '
    if NOTHING in words:
        raise ImageReadError(file, f'{words[NOTHING]} objects have no class; {way_out}{{"": 1}}')
    told = unknown(list(words)[:_TOLD], known, "class")
    more = f" and {len(words) - _TOLD} more" if len(words) > _TOLD else ""
    first = next(iter(words))
    raise ImageReadError(file, f'{"; ".join(told)}{more}; {way_out}{{"{first}": 1}}')
