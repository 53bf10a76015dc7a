"""Losses of a product of two matrices that is never held whole.

The gradients are computed with the losses, some rows at a time, as fused cross-entropies of
language models do (Hsu et al., Liger Kernel, 2024; Wijmans et al., Cut Your Losses, 2024).

R rows, E channels, M columns, T terms.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class ProductLoss(NamedTuple):
    """Terms that are sums over the rows of a product.

    Attributes:
        judge: some rows [r, M] of the product, and which of the R they are, to their terms [T].
        weights: [T] how the terms will be weighed against each other. If they are not, the
            gradients are computed once more on the way back.
        at_once: how many rows are held at a time.
    """

    judge: Callable[[Tensor, slice], Tensor]
    weights: Sequence[float]
    at_once: int

    def __call__(self, rows: Tensor, columns: Tensor) -> Tensor:
        """[R, E] and [E, M] to [T]; nothing of a size R x M is kept for the way back."""
        if torch.is_grad_enabled():
            out: Tensor = _Fused.apply(rows, columns, self)
            return out
        return torch.stack([self.judge(rows[at] @ columns, at) for at in self._parts(rows)]).sum(0)

    def gradients(
        self, rows: Tensor, columns: Tensor, weights: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The terms [T], and the gradients [R, E] and [E, M] of their weighted sum."""
        terms, by_rows, by_columns = [], torch.empty_like(rows), torch.zeros_like(columns)
        for at in self._parts(rows):
            product = (rows[at] @ columns).requires_grad_()
            with torch.enable_grad():
                its = self.judge(product, at)
            (by_product,) = torch.autograd.grad(its, product, weights)
            terms.append(its.detach())
            by_rows[at] = by_product @ columns.T
            by_columns.addmm_(rows[at].T, by_product)
        return torch.stack(terms).sum(0), by_rows, by_columns

    def _parts(self, rows: Tensor) -> list[slice]:
        """One at least, an empty one where there are no rows."""
        starts = range(0, max(1, len(rows)), self.at_once)
        return [slice(i, min(i + self.at_once, len(rows))) for i in starts]


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, columns: Tensor, loss: ProductLoss) -> Tensor:
        terms, *gradients = loss.gradients(rows, columns, rows.new_tensor(loss.weights))
        ctx.loss = loss
        ctx.save_for_backward(rows, columns, *gradients)
        return terms

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, asked: Tensor) -> tuple[Tensor, Tensor, None]:
        rows, columns, by_rows, by_columns = ctx.saved_tensors
        expected = asked.new_tensor(ctx.loss.weights)
        scale = (asked @ expected) / (expected @ expected)
        if not torch.allclose(scale * expected, asked, rtol=1e-5, atol=0.0):
            _, by_rows, by_columns = ctx.loss.gradients(rows, columns, asked)
            return by_rows, by_columns, None
        return scale * by_rows, scale * by_columns, None
