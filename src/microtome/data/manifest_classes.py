"""The class table of a manifest: named by its keys, or after COCO's categories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..structures import Classes
from .manifest_keys import is_count, is_list

BACKGROUND = "background"


def named_classes(given: Mapping[str, Any], problems: list[str]) -> Classes:
    """The class table; names default to `class_0`, `class_1`, ..."""
    before = len(problems)
    names: Any = given.get("class_names")
    count: Any = given.get("num_classes")
    if names is not None and not is_list(names, lambda n: isinstance(n, str)):
        problems.append(f"class_names: expected a list of names, got {names!r}")
        names = None
    count = len(names) if count is None and names else count
    if not is_count(count) or count == 0:
        problems.append(f"num_classes: expected a number from 1 on, got {count!r}")
        count = len(names or ()) or 1
    if names is not None and len(names) != count:
        problems.append(f"num_classes is {count} but there are {len(names)} class_names")
    colours, ignore = given.get("colors") or [], given.get("ignore_index", 255)
    if not is_list(colours, _is_colour) or len(colours) not in (0, count):
        problems.append(f"colors: expected {count} times [red, green, blue] in 0 to 255")
    if type(ignore) is not int:
        problems.append(f"ignore_index: expected a whole number, got {ignore!r}")
    exclusive = given.get("exclusive", True)
    if type(exclusive) is not bool:
        problems.append(f"exclusive: expected true or false, got {exclusive!r}")
    default = tuple(f"class_{i}" for i in range(count))
    if len(problems) > before:
        return Classes(default)
    things = _things(given, names or default, problems)
    table = Classes(tuple(names or default), things, tuple(map(tuple, colours)), ignore)
    try:
        if not exclusive:
            table = Classes.overlapping(table.names, table.colours, ignore)
        return table.checked()
    except ValueError as error:
        problems.append(str(error))
        return table


def _things(
    given: Mapping[str, Any], names: Sequence[str], problems: list[str]
) -> tuple[bool, ...]:
    """Of each class whether its objects are counted; nothing where nothing is said."""
    counted: Any = given.get("things")
    if counted is None:
        return ()
    if not is_list(counted, lambda name: name in names) or not counted:
        problems.append(f"things: expected some of the classes {list(names)}, got {counted!r}")
        return ()
    if given.get("exclusive") is False:
        problems.append("things: objects of classes that overlap are not counted")
    return tuple(name in counted for name in names)


def with_categories(
    given: Mapping[str, Any], categories: list[str], problems: list[str]
) -> Mapping[str, Any]:
    """The same keys with the classes of COCO's categories, where no others are named.

    Class 0 is what lies around objects, so it is none of the categories.
    """
    if not categories:
        return given
    names = given.get("class_names")
    if isinstance(names, list | tuple) and names and names[0] in categories:
        if names[0] != BACKGROUND:
            problems.append(
                f"class_names: the first is what lies around objects, but {names[0]!r} is a "
                f"category of objects: put {BACKGROUND!r} before it"
            )
        return given
    if names is not None or "num_classes" in given:
        return given
    names = [BACKGROUND, *(name for name in categories if name != BACKGROUND)]
    ignore = 255 if len(names) <= 255 else 65_535
    return {"class_names": names, "ignore_index": ignore} | dict(given)


def _is_colour(value: Any) -> bool:
    return is_list(value, lambda v: is_count(v) and v <= 255) and len(value) == 3
