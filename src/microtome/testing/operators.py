"""What an operator with gradients promises of all its backends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ..ops import using
from .backends import BackendContract
from .checks import seeded


class OperatorContract(BackendContract):
    """What an operator that returns a floating point tensor promises, gradients included."""

    def answers(self, call: Callable[..., Any], args: Sequence[Any]) -> list[Tensor]:
        """The answer, then its gradient by every floating-point argument."""
        leaves = self.leaves(args)
        out = call(*leaves)
        wanted = [a for a in leaves if isinstance(a, Tensor) and a.requires_grad]
        weights = torch.randn(out.shape, generator=seeded()).to(out)
        return [out.detach(), *torch.autograd.grad((out * weights).sum(), wanted)]

    def leaves(self, args: Sequence[Any]) -> tuple[Any, ...]:
        """Fresh ones that want gradients, where arguments are floating point."""
        return tuple(
            a.detach().clone().requires_grad_()
            if isinstance(a, Tensor) and a.is_floating_point()
            else a
            for a in args
        )

    def test_gradients_are_those_of_finite_differences(self) -> None:
        """In float64, for each backend that takes it."""
        for backend, args in self.usable_with(torch.float64):
            with using(**{self.name: backend.name}):
                assert torch.autograd.gradcheck(self.call, self.leaves(args))

    def test_half_precision_accumulates_in_float(self) -> None:
        """The answer is the one in float32 from the same rounded values, rounded once."""
        for backend, args in self.usable_with(torch.bfloat16):
            exact = [a.float() if isinstance(a, Tensor) else a for a in args]
            with using(**{self.name: backend.name}):
                half, full = self.call(*args), self.call(*exact)
            assert half.dtype == torch.bfloat16
            torch.testing.assert_close(half, full.bfloat16(), rtol=2**-7, atol=1e-4)
