"""Classes of objects, read with their table: N objects, K classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from .classes import Classes


@dataclass(frozen=True)
class Labels:
    """The class of each object, and what the classes are.

    Attributes:
        tensor: [N] class indices, as in `Instances.labels`.
        classes: the table of K classes.

    Raises ValueError for labels that are no class of the table.
    """

    tensor: Tensor
    classes: Classes

    def __post_init__(self) -> None:
        known = self.classes.num_classes
        unknown = self.tensor[(self.tensor < 0) | (self.tensor >= known)].unique().tolist()
        if unknown:
            raise ValueError(f"labels {unknown} are no classes: expected 0 to {known - 1}")

    def __len__(self) -> int:
        return len(self.tensor)

    def counts(self) -> dict[str, int]:
        """How many objects each class has, also those without any."""
        counted = torch.bincount(self.tensor.flatten(), minlength=self.classes.num_classes)
        return dict(zip(self.classes.names, counted.tolist(), strict=True))

    def names(self) -> list[str]:
        """The name of each object's class."""
        return [self.classes.names[label] for label in self.tensor.tolist()]

    def one_hot(self) -> Tensor:
        """[N, K] int64."""
        return F.one_hot(self.tensor.long(), self.classes.num_classes)

    def remap(self, classes: Classes, renamed: Mapping[str, str] | None = None) -> Labels:
        """The same objects by another table.

        Args:
            classes: the other table.
            renamed: old names to new ones, where they differ; several may become one.

        Raises ValueError naming the classes in use that the other table lacks.
        """
        names = [(renamed or {}).get(name, name) for name in self.classes.names]
        table = [classes.names.index(name) if name in classes.names else -1 for name in names]
        new = torch.tensor(table, device=self.tensor.device)[self.tensor.long()]
        lost = sorted({self.names()[i] for i in (new < 0).nonzero().flatten().tolist()})
        if lost:
            raise ValueError(f"{lost} have no class in the other table: {list(classes.names)}")
        return Labels(new, classes)
