"""OME-Zarr 0.4 (zarr 2) and 0.5 (zarr 3): what its metadata says, and the arrays it names.

The finest resolution is read, coarser ones when they are asked for. Axes come from their names,
spacing from the scale of those that state a unit of length. Plain zarr arrays take their axes from
`dimension_names`, else from their number. A group that microtome wrote says whether it was
finished; see `ome_zarr_pyramid`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import zarr

from .selection import usual_axes
from .source import ImageReadError
from .units import micrometres
from .zarr_arrays import ZarrArray, open_node

MARKER = "microtome"  # the attribute that says {"complete": true or false}


def open_image(place: str, axes: str | None = None) -> ZarrArray:
    """The finest array of an OME-Zarr image, or a plain zarr array.

    Args:
        place: folder or URL of a group or array.
        axes: letters of an array that does not name its axes.

    Raises ImageReadError for groups that are no image, saying what they hold.
    """
    node = open_node(place)
    if isinstance(node, zarr.Array):
        return _plain(place, node, axes)
    if multiscale(node) is not None:
        return _level(place, node)
    images = sorted(name for name, _ in node.groups() if name not in ("labels", "OME"))
    if "bioformats2raw.layout" in ome_attributes(node) and images == ["0"]:
        return open_image(f"{place}/0")
    raise ImageReadError(place, _no_image(node, images))


def open_label_image(place: str, axes: str | None = None) -> ZarrArray:
    """The finest array of a label image: the group itself, or the one in the `labels` of an image.

    Raises ImageReadError when there is none, or several to choose from.
    """
    node = open_node(place)
    if isinstance(node, zarr.Group) and "image-label" not in ome_attributes(node):
        names = label_names(node)
        if len(names) == 1:
            return open_image(f"{place}/labels/{names[0]}")
        if names:
            raise ImageReadError(
                place, f"holds {len(names)} label images; open one of them: "
                + ", ".join(f"{place}/labels/{name}" for name in names),
            )  # fmt: skip
    return open_image(place, axes)


def ome_attributes(group: zarr.Group) -> Mapping[str, Any]:
    """The attributes of OME-Zarr: in 0.5 and later below `ome`, in 0.4 at the top."""
    attributes = group.attrs.asdict()
    inner = attributes.get("ome")
    return inner if isinstance(inner, Mapping) else attributes


def multiscale(group: zarr.Group) -> Mapping[str, Any] | None:
    """The first pyramid that a group describes."""
    pyramids = ome_attributes(group).get("multiscales")
    if isinstance(pyramids, Sequence) and pyramids and isinstance(pyramids[0], Mapping):
        return pyramids[0]
    return None


def label_names(group: zarr.Group) -> list[str]:
    """The label images that an image lists."""
    labels = group.get("labels")
    if not isinstance(labels, zarr.Group):
        return []
    return [str(name) for name in ome_attributes(labels).get("labels", ())]


def scale_of(pyramid: Mapping[str, Any], level: int = 0) -> list[float] | None:
    """The scale per axis of a level, that of the whole pyramid included."""
    scales = [
        [float(s) for s in step["scale"]]
        for holder in (pyramid["datasets"][level], pyramid)
        for step in holder.get("coordinateTransformations", ())
        if step.get("type") == "scale"
    ]
    if not scales:
        return None
    return [float(a * b) for a, b in zip(*scales, strict=True)] if len(scales) > 1 else scales[0]


def _level(place: str, group: zarr.Group, level: int = 0) -> ZarrArray:
    """A level of a pyramid, the finest first."""
    pyramid = multiscale(group) or {}
    marker: Any = group.attrs.asdict().get(MARKER) or {}
    complete = marker.get("complete")
    if complete is False:
        raise ImageReadError(place, "was never finished: its writer was stopped, or still writes")
    try:
        named = [_name_and_unit(axis) for axis in pyramid["axes"]]
        scale, path = scale_of(pyramid, level), str(pyramid["datasets"][level]["path"])
        last = level + 1 == len(pyramid["datasets"])
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise ImageReadError(place, f"its multiscales metadata is damaged ({error!r})") from None
    axes = "".join(name for name, _ in named)
    array = ZarrArray(
        f"{place}/{path}", axes, spacing=_spacing(named, scale), channels=_channels(group),
        complete=complete is True,
        coarser=None if last else partial(_open_level, place, level + 1),
    )  # fmt: skip
    if len(axes) != len(array.layout.shape):
        shape = list(array.layout.shape)
        raise ImageReadError(place, f"names the axes {axes!r}, but its array has shape {shape}")
    return array


def _open_level(place: str, level: int) -> ZarrArray:
    group = open_node(place)
    assert isinstance(group, zarr.Group)
    return _level(place, group, level)


def _spacing(named: Sequence[tuple[str, str]], scale: Sequence[float] | None) -> dict[str, float]:
    """Micrometres by axis letter, of the axes that state a unit."""
    steps: Sequence[float | None] = scale or [None] * len(named)
    return {
        name: step
        for (name, unit), value in zip(named, steps, strict=False)
        if (step := micrometres(value, unit)) is not None
    }


def _name_and_unit(axis: Any) -> tuple[str, str]:
    """0.4 and later have objects, 0.3 plain letters; names longer than a letter go by type."""
    if isinstance(axis, str):
        return axis.lower(), ""
    name, kind = str(axis["name"]).lower(), axis.get("type")
    letter = {"channel": "c", "time": "t"}.get(str(kind), name)
    return letter, str(axis.get("unit", ""))


def _channels(group: zarr.Group) -> tuple[str, ...]:
    listed = ome_attributes(group).get("omero", {}).get("channels", ())
    names = tuple(str(channel.get("label") or "") for channel in listed)
    return names if names and all(names) and len(set(names)) == len(names) else ()


def _plain(place: str, array: zarr.Array[Any], axes: str | None) -> ZarrArray:
    names = getattr(array.metadata, "dimension_names", None) or ()
    letters = "".join(str(name or "") for name in names).lower()
    said = letters if len(letters) == array.ndim and set(letters) <= {*"tczyx"} else None
    return ZarrArray(place, usual_axes(place, array.shape, axes or said))


def _no_image(group: zarr.Group, groups: list[str]) -> str:
    if "plate" in ome_attributes(group):
        return "is a plate of wells; open one field of it, such as A/1/0 below it"
    arrays = sorted(name for name, _ in group.arrays())
    inside = ", ".join((groups + arrays)[:8])
    return "is a zarr group without an image of its own" + (
        f"; open one of what it holds: {inside}" if inside else ", and empty"
    )
