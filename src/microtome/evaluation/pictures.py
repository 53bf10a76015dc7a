"""The picture of a result: image, truth and prediction beside each other, with a legend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from PIL import Image
from torch import Tensor

from ..geometry import Shape, Spacing
from ..structures import Classes
from .page import GAP, MARGIN, Entry, Page
from .planes import Plane, coloured, painted, planes

WIDTH, HEIGHT, SMALLEST = 1600, 1000, 320  # pixels: a page, its planes together, one panel
LISTED, AT_MOST = 12, 24  # classes in the legend: all of so many; else those present, at most
CLEAR = (255, 255, 255)  # an empty box, for what is not tinted
VERDICTS = Classes(("right", "wrong"), colours=((0, 0, 0), (230, 30, 60)), ignore_index=2)


def overlay(
    image: Tensor | None,
    classes_map: Tensor | None,
    classes: Classes,
    title: str | None = None,
    truth: Tensor | None = None,
    spacing: Spacing | None = None,
    errors: bool = False,
) -> Image.Image:
    """Draw image | truth | prediction, with a legend of the classes below.

    Args:
        image: [C, *S] in unit range, any number of channels; without it the maps lie on white.
        classes_map: [*S] the prediction, if there is one.
        classes: the class table; ignored pixels are striped grey.
        title: a line above, such as the name and how good the result is.
        truth: [*S] the true classes, when known.
        spacing: gives planes of a volume their true proportions.
        errors: whether a column shows which pixels are wrong, where the truth is known.

    2D images are shown whole; of volumes the planes through the middle, cut at z, y and x. Large
    images are shrunk: the picture is at most 1,600 pixels wide, unless its title is wider. Raises
    ValueError when shapes differ, and where there is nothing to draw.
    """
    given = {"truth": truth, "prediction": classes_map}
    maps = {name: one for name, one in given.items() if one is not None}
    plain = [] if image is None else ["image"]
    if image is None:
        image = torch.ones(1, *_shape(maps))
    for name, one in maps.items():
        if one.shape != image.shape[1:]:
            raise ValueError(
                f"the {name} has the shape {list(one.shape)}, its image {list(image.shape[1:])}"
            )
    columns = [(name, one, classes) for name, one in maps.items()]
    if truth is not None and classes_map is not None and errors:
        columns.append(("errors", _verdicts(classes_map, truth, classes), VERDICTS))
    cuts = planes(tuple(image.shape[1:]), spacing)
    flat = [image[(slice(None), *cut.pick)] for cut in cuts]
    rows = []
    sizes = panel_sizes(cuts, len(plain) + len(columns))
    for cut, pixels in zip(cuts, coloured(flat, sizes), strict=True):
        shown = [pixels] * len(plain)
        rows.append([*shown, *(painted(pixels, one[cut.pick], table) for _, one, table in columns)])
    legend = _legend([one[cut.pick] for one in maps.values() for cut in cuts], classes)
    if len(columns) > len(maps):
        legend.append(Entry("wrong", VERDICTS.palette[1]))
    headings = [*plain, *(name for name, _, _ in columns)]
    return Page(rows, headings, [cut.name for cut in cuts], legend, title or "").draw()


def panel_sizes(cuts: Sequence[Plane], columns: int) -> list[tuple[int, int]]:
    """The size of each plane on the page: one scale for all, so that they fit each other."""
    widest = max(cut.size[1] for cut in cuts)
    room = (WIDTH - 2 * MARGIN - (columns - 1) * GAP) / columns
    fits = min(room / widest, HEIGHT / sum(cut.size[0] for cut in cuts))
    unit = max(1.0, SMALLEST / widest)
    scale = min(fits, unit)
    return [(max(int(h * scale), 1), max(int(w * scale), 1)) for h, w in (c.size for c in cuts)]


def _shape(maps: Mapping[str, Tensor]) -> Shape:
    """That of the first map."""
    for one in maps.values():
        return tuple(one.shape)
    raise ValueError("there is nothing to draw: expected an image, a prediction or a truth")


def _verdicts(found: Tensor, truth: Tensor, classes: Classes) -> Tensor:
    """[*S] by `VERDICTS`; pixels that are not judged are ignored there, too."""
    wrong = (found != truth.to(found.device)).to(torch.uint8)
    wrong[truth == classes.ignore_index] = VERDICTS.ignore_index
    return wrong


def _legend(maps: Sequence[Tensor], classes: Classes) -> list[Entry]:
    present = {int(v) for one in maps for v in one.unique()}
    listed = [
        i for i in range(classes.num_classes) if classes.num_classes <= LISTED or i in present
    ]
    palette = [CLEAR if colour == (0, 0, 0) else colour for colour in classes.palette]
    entries = [Entry(classes.names[i], palette[i]) for i in listed[:AT_MOST]]
    if len(listed) > AT_MOST:
        entries.append(Entry(f"and {len(listed) - AT_MOST} more", CLEAR))
    if classes.ignore_index in present:
        entries.append(Entry("ignored", None))
    return entries
