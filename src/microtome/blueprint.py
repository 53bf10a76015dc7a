"""How a part was built, as plain data: with it a checkpoint or a worker can build it again.

`Part` remembers its constructor's arguments; `part.blueprint` is JSON; `build` is its inverse. A
blueprint names classes to call, so it is a program: class paths outside `trusted` are refused.
"""

from __future__ import annotations

import functools
import importlib
import inspect
from typing import Any, NamedTuple

from torch import nn

DERIVED = ("spec", "classes")  # what a maker receives when it is called, so never written down


class Part(nn.Module):
    """A module that remembers its constructor's arguments as `blueprint`."""

    blueprint: dict[str, Any]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__init__" not in vars(cls):
            return
        init = cls.__init__
        signature = inspect.signature(init)

        @functools.wraps(init)
        def remembering(self: Part, *args: Any, **kw: Any) -> None:
            init(self, *args, **kw)
            if type(self).__init__ is remembering:  # the outermost constructor only
                told = {**_given(signature.bind(self, *args, **kw)), **self.restated()}
                self.blueprint = _describe(
                    type(self), {k: _as_given(self, k, v) for k, v in told.items()}
                )

        setattr(cls, "__init__", remembering)  # noqa: B010 (mypy forbids assigning a constructor)

    def restated(self) -> dict[str, Any]:
        """Arguments to write down instead of those given, where a part looked something up."""
        return {}


class Maker(NamedTuple):
    """A class to be called later with the derived arguments, and the arguments it already has."""

    make: str
    init_args: dict[str, Any]


def build(blueprint: Any, trusted: tuple[str, ...] = ("microtome.",)) -> Any:
    """Build what a blueprint describes.

    Raises PermissionError when a class path does not start with one of `trusted`, and ValueError
    when it names nothing that can be imported.
    """
    if isinstance(blueprint, list):
        return tuple(build(v, trusted) for v in blueprint)
    if not isinstance(blueprint, dict):
        return blueprint
    if "class_path" not in blueprint and "make" not in blueprint:
        return {k: build(v, trusted) for k, v in blueprint.items()}
    cls = _trusted_class(blueprint.get("class_path") or blueprint["make"], trusted)
    given = {k: build(v, trusted) for k, v in blueprint.get("init_args", {}).items()}
    made = functools.partial(cls, **given)
    return made if "make" in blueprint else made()


def _trusted_class(path: str, trusted: tuple[str, ...]) -> type:
    if not path.startswith(trusted):
        way_out = f"pass trusted=(..., {path.rpartition('.')[0] + '.'!r}) if you trust it"
        raise PermissionError(f"{path} is outside the trusted packages {trusted}; {way_out}")
    module, _, name = path.rpartition(".")
    try:
        cls = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{path} cannot be imported; was it saved by a newer version?") from error
    if not isinstance(cls, type) or not issubclass(cls, (Part, tuple)):
        raise PermissionError(
            f"{path} is not a Part or a NamedTuple, so a blueprint may not call it"
        )
    return cls


def _given(bound: inspect.BoundArguments) -> dict[str, Any]:
    """Arguments by name, without `self`; those taken as `**more` beside the others."""
    given = dict(list(bound.arguments.items())[1:])
    for name, parameter in bound.signature.parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            given |= given.pop(name, {})
    return given


def _as_given(part: Part, name: str, value: Any) -> Any:
    """Write a maker down as what it made, without the arguments that it will be given again."""
    made = getattr(part, name, None)
    if not callable(value) or isinstance(value, Part) or not isinstance(made, Part):
        return value
    written = made.blueprint["init_args"]
    return Maker(
        made.blueprint["class_path"], {k: v for k, v in written.items() if k not in DERIVED}
    )


def _describe(cls: type, given: dict[str, Any]) -> dict[str, Any]:
    path = f"{cls.__module__}.{cls.__qualname__}"
    return {"class_path": path, "init_args": {k: plain(v) for k, v in given.items()}}


def plain(value: Any) -> Any:
    """Parts become their blueprints, NamedTuples likewise, tuples lists; the rest must be JSON."""
    if isinstance(value, Part):
        return value.blueprint
    if isinstance(value, Maker):
        return value._asdict()
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return _describe(type(value), value._asdict())
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(
        f"{value!r} cannot be written in a blueprint: expected a Part, a NamedTuple or plain JSON"
    )
