"""The picture of objects: outlines over the image, beside those of the truth.

C channels, N objects, *S the spatial shape.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from ..geometry import Spacing
from ..structures import Classes, Instances, LabelLayers
from .instance_matching import match
from .overlap import overlap
from .page import Entry, Page
from .pictures import panel_sizes
from .planes import Pixels, Plane, coloured, edges, nearest, planes

THICK = 700  # pixels of a panel's longer side from which on outlines are two pixels wide
TURN = 0.618034  # of the colour circle, from one object to the next
FOUND, FALSE, MISSED = (60, 200, 90), (230, 30, 60), (255, 200, 0)
VERDICTS = [Entry("found", FOUND), Entry("false", FALSE), Entry("missed", MISSED)]
ENOUGH = 0.5  # IoU from which on an object is found

Outlines = tuple[Tensor, npt.NDArray[np.uint8]]  # maps [L, *S] of 1…N, and their colours [N, 3]


def object_overlay(
    image: Tensor | None,
    found: Instances,
    classes: Classes,
    title: str = "",
    truth: Instances | None = None,
    spacing: Spacing | None = None,
    projected: bool = False,
    errors: bool = False,
) -> Image.Image:
    """Draw image | truth | prediction with an outline around each object.

    Outlines have the colours of the classes, with a legend, where the class table has several
    kinds of objects; else each object has a colour of its own, so that touching ones are told
    apart. Objects that overlap are drawn one over the other.

    Args:
        image: [C, *S] in unit range, any number of channels; without it outlines lie on black.
        found: N objects with masks.
        classes: the class table.
        title: a line above.
        truth: the true objects with masks, when known.
        spacing: gives planes of a volume their true proportions.
        projected: of a volume show the brightest pixel along z, y and x, and of its objects those
            that are seen first; else the planes through the middle.
        errors: whether a column shows which objects are found (IoU of 0.5, of the same class),
            false and missed, where the truth is known.

    Raises ValueError when shapes differ or masks are lacking.
    """
    columns = {"prediction": found} if truth is None else {"truth": truth, "prediction": found}
    plain = [] if image is None else ["image"]
    if image is None:
        image = torch.zeros(1, *_masks("prediction", found).maps.shape[1:])
    drawn = {
        name: [(_maps(name, objects, image), _colours(objects, classes))]
        for name, objects in columns.items()
    }
    if truth is not None and errors:
        drawn["errors"] = _verdicts(found, truth)
    cuts = planes(tuple(image.shape[1:]), spacing)
    flat = [_brightest(image, cut) if projected else image[:, *cut.pick] for cut in cuts]
    rows = []
    sizes = panel_sizes(cuts, len(plain) + len(drawn))
    for cut, pixels in zip(cuts, coloured(flat, sizes), strict=True):
        row = [pixels] * len(plain)
        for outlines in drawn.values():
            panel = pixels
            for maps, colours in outlines:
                shown = [_first(m, cut) if projected else m[cut.pick] for m in maps]
                panel = outlined(panel, shown, colours)
            row.append(panel)
        rows.append(row)
    names = [_along(cut) if projected and cut.name else cut.name for cut in cuts]
    legend = _legend(columns, classes) + (VERDICTS if "errors" in drawn else [])
    return Page(rows, [*plain, *drawn], names, legend, title).draw()


def outlined(image: Pixels, maps: Sequence[Tensor], colours: npt.NDArray[np.uint8]) -> Pixels:
    """Lay outlines over an image [h, w, 3]: maps [H, W] hold 1…N, colours are [N, 3]."""
    out = image.copy()
    for numbers in maps:
        shown = nearest(numbers, image.shape[:2])
        line = edges(shown, 2 if max(shown.shape) >= THICK else 1) & (shown > 0)
        out[line] = colours[shown[line] - 1]
    return out


def _verdicts(found: Instances, truth: Instances) -> list[Outlines]:
    """Outlines of what was missed, and over them of what was found or is false."""
    assert found.masks is not None and truth.masks is not None
    table = overlap(found.masks, truth.masks)
    alike = found.labels[table.pairs[:, 0]] == truth.labels[table.pairs[:, 1]]
    right, hit = table.pairs[match(table, ENOUGH, alike)].T
    colours = np.full((len(found), 3), FALSE, np.uint8)
    colours[right.numpy()] = FOUND
    left = torch.arange(len(truth) + 1)
    left[hit + 1] = 0
    missed = left[truth.masks.maps.long()]
    return [(missed, np.full((len(truth), 3), MISSED, np.uint8)), (found.masks.maps, colours)]


def _masks(name: str, objects: Instances) -> LabelLayers:
    if objects.masks is None:
        raise ValueError(f"the objects of the {name} have no masks to draw")
    return objects.masks


def _maps(name: str, objects: Instances, image: Tensor) -> Tensor:
    maps = _masks(name, objects).maps
    if maps.shape[1:] != image.shape[1:]:
        raise ValueError(
            f"the {name} has the shape {list(maps.shape[1:])}, its image {list(image.shape[1:])}"
        )
    return maps


def _kinds(classes: Classes) -> list[int]:
    """The classes that objects may have."""
    things = classes.things or tuple(colour != (0, 0, 0) for colour in classes.palette)
    return [i for i, counted in enumerate(things) if counted]


def _colours(objects: Instances, classes: Classes) -> npt.NDArray[np.uint8]:
    """[N, 3]: of the class where there are several kinds, else of the object."""
    if len(_kinds(classes)) > 1:
        chosen = np.array(classes.palette)[objects.labels.cpu().numpy()]
    else:
        hues = [colorsys.hsv_to_rgb(i * TURN % 1, 0.85, 1.0) for i in range(len(objects))]
        chosen = (255 * np.array(hues).reshape(-1, 3)).round()
    return np.asarray(chosen.astype(np.uint8))


def _legend(columns: dict[str, Instances], classes: Classes) -> list[Entry]:
    kinds = _kinds(classes)
    present = {int(label) for objects in columns.values() for label in objects.labels.unique()}
    listed = [i for i in kinds if i in present] if len(kinds) > 1 else []
    return [Entry(classes.names[i], classes.palette[i]) for i in listed]


def _hidden(cut: Plane) -> list[int]:
    """The axes a plane is cut at."""
    return [axis for axis, part in enumerate(cut.pick) if not isinstance(part, slice)]


def _along(cut: Plane) -> str:
    return "brightest along " + ", ".join(part.split(" ")[0] for part in cut.name.split(", "))


def _brightest(image: Tensor, cut: Plane) -> Tensor:
    hidden = [axis + 1 for axis in _hidden(cut)]
    return image.amax(hidden) if hidden else image


def _first(numbers: Tensor, cut: Plane) -> Tensor:
    """The first object that is met along each hidden axis."""
    for axis in reversed(_hidden(cut)):
        at = (numbers > 0).to(torch.uint8).argmax(axis, keepdim=True)
        numbers = numbers.gather(axis, at).squeeze(axis)
    return numbers
