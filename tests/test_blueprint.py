"""A part remembers how it was built, and is built again only by trusted names."""

import json
from functools import partial
from typing import NamedTuple

import pytest
from torch import nn

from microtome.blueprint import Part, build
from microtome.structures import Classes, PyramidSpec

HERE = (f"{__name__}.", "microtome.")


class Size(NamedTuple):
    height: int = 1
    widths: tuple[int, ...] = (2,)


class Leaf(Part):
    def __init__(self, size: Size, *, rate: float = 0.5, options: dict | None = None) -> None:
        super().__init__()
        self.size, self.rate, self.options = size, rate, options
        self.layer = nn.Linear(size.height, sum(size.widths))


class Tail(Part):
    def __init__(self, spec: PyramidSpec, classes: Classes, *, depth: int = 1) -> None:
        super().__init__()
        self.spec, self.classes, self.depth = spec, classes, depth


class Tree(Part):
    def __init__(self, leaf: Leaf, tail, classes: Classes) -> None:
        super().__init__()
        self.leaf = leaf
        self.tail = tail(PyramidSpec((1,), ((1.0, 1.0),), (1, 1)), classes)


class Finder(Part):
    def __init__(self, name: str, cache: str = "") -> None:
        super().__init__()
        self.found = name.upper()

    def restated(self):
        return {"name": self.found, "cache": ""}


class Special(Leaf):
    """Without a constructor of its own."""


class Wider(Leaf):
    def __init__(self, width: int) -> None:
        super().__init__(Size(width))


class Open(Leaf):
    def __init__(self, width: int = 1, **more) -> None:
        super().__init__(Size(width), **more)


def rebuilt(part, trusted=HERE):
    return build(json.loads(json.dumps(part.blueprint)), trusted)


def test_arguments_are_remembered_as_plain_data():
    leaf = Leaf(Size(3, (4, 5)), options={"a": [1, (2, 3)]})
    assert leaf.blueprint == {
        "class_path": f"{__name__}.Leaf",
        "init_args": {
            "size": {
                "class_path": f"{__name__}.Size",
                "init_args": {"height": 3, "widths": [4, 5]},
            },
            "options": {"a": [1, [2, 3]]},
        },
    }


@pytest.mark.parametrize(
    "make", [lambda: Leaf(Size(3)), lambda: Special(Size(2)), lambda: Wider(4)]
)
def test_building_is_the_inverse(make):
    part = make()
    twin = rebuilt(part)
    assert type(twin) is type(part) and twin.size == part.size
    assert twin.blueprint == part.blueprint


def test_the_outermost_constructor_is_remembered():
    assert Wider(4).blueprint["init_args"] == {"width": 4}


@pytest.mark.parametrize("maker", [Tail, partial(Tail), partial(Tail, depth=3)])
def test_makers_are_written_without_what_they_are_given(maker):
    tree = Tree(Leaf(Size()), maker, Classes(("a", "b")))
    written = tree.blueprint["init_args"]["tail"]
    assert written["make"] == f"{__name__}.Tail" and not written["init_args"].keys() - {"depth"}
    twin = rebuilt(tree)
    assert twin.tail.depth == tree.tail.depth and twin.tail.classes == Classes(("a", "b"))
    assert twin.blueprint == tree.blueprint


def test_a_part_may_restate_what_it_looked_up():
    assert Finder("x", "/tmp/y").blueprint["init_args"] == {"name": "X", "cache": ""}
    assert rebuilt(Finder("x")).found == "X"


def test_what_is_no_plain_data_cannot_be_written():
    with pytest.raises(TypeError, match="expected a Part, a NamedTuple or plain JSON"):
        Leaf(Size(), options={"x": object()})


@pytest.mark.parametrize(
    "path, error, message",
    [
        ("os.system", PermissionError, "os.system is outside the trusted packages"),
        ("microtomes.Evil", PermissionError, "outside the trusted"),
        ("microtome.files.whole", PermissionError, "not a Part or a NamedTuple"),
        ("microtome.files.os.system", ValueError, "cannot be imported"),
        ("microtome.absent.Part", ValueError, "saved by a newer version"),
    ],
)
@pytest.mark.parametrize("key", ["class_path", "make"])
def test_a_blueprint_is_no_program(path, error, message, key):
    with pytest.raises(error, match=message):
        build({key: path, "init_args": {"command": "true"}})


def test_inner_parts_are_checked_as_well():
    blueprint = Tree(Leaf(Size()), Tail, Classes(("a",))).blueprint
    blueprint["init_args"]["leaf"]["class_path"] = "subprocess.Popen"
    with pytest.raises(PermissionError, match=r"subprocess\.Popen"):
        build(blueprint, HERE)


def test_arguments_taken_by_any_name_stand_beside_the_others():
    part = rebuilt(Open(2, rate=0.25, options={"a": 1}))
    assert (part.size, part.rate, part.options) == (Size(2), 0.25, {"a": 1})
    assert part.blueprint["init_args"] == {"width": 2, "rate": 0.25, "options": {"a": 1}}
    assert Open().blueprint["init_args"] == {}
