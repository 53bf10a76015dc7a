"""What all holders of tensors can do: move, copy, and turn into a dictionary and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields, replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor


@dataclass(frozen=True)
class TensorTree:
    """A dataclass of tensors, of other such dataclasses, and of plain data.

    Attributes:
        parts: the types of those fields that are dataclasses or named tuples themselves.
    """

    parts: ClassVar[Mapping[str, Any]] = {}

    def each(self, function: Callable[[Tensor], Tensor]) -> Self:
        """Apply a function to every tensor."""
        changed: dict[str, Any] = {}
        for name, value in self._known():
            if isinstance(value, Tensor):
                changed[name] = function(value)
            elif isinstance(value, TensorTree):
                changed[name] = value.each(function)
        return replace(self, **changed)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Self:
        """Move every tensor."""
        return self.each(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def cpu(self) -> Self:
        """Move every tensor to main memory."""
        return self.to("cpu")

    def clone(self) -> Self:
        """Copy every tensor."""
        return self.each(torch.clone)

    def to_dict(self) -> dict[str, Any]:
        """What is known, by name: tensors, plain data and dictionaries of them."""
        return {name: _plain(value) for name, value in self._known()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Make it from what `to_dict` returned.

        Raises ValueError for names that it does not have, and those that it must have.
        """
        known = fields(cls)
        unknown = sorted(data.keys() - {f.name for f in known})
        needed = {f.name for f in known if f.default is MISSING and f.default_factory is MISSING}
        wrong = [f"unknown {unknown}"] if unknown else []
        wrong += [f"missing {sorted(needed - data.keys())}"] if needed - data.keys() else []
        if wrong:
            raise ValueError(f"{cls.__name__}: {', '.join(wrong)}")
        return cls(**{name: _made(cls.parts.get(name), value) for name, value in data.items()})

    def _known(self) -> list[tuple[str, Any]]:
        values = [(f.name, getattr(self, f.name)) for f in fields(self)]
        return [(name, value) for name, value in values if value is not None]


def _plain(value: Any) -> Any:
    if isinstance(value, TensorTree):
        return value.to_dict()
    return value._asdict() if hasattr(value, "_asdict") else value


def _made(kind: Any, value: Any) -> Any:
    if kind is None:
        return value
    return kind.from_dict(value) if issubclass(kind, TensorTree) else kind(**value)
