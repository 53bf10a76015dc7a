"""What an operator promises of all its backends."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from unittest import SkipTest

import torch
from torch import Tensor

from ..ops import Backend, using
from .checks import assert_close, seeded


class OperatorContract:
    """What an operator promises, with each of its backends that this machine can run.

    Subclasses say `name`, `backends`, `call` and `make`, `empty` where nothing can be asked, and
    with compiled backends `drawn` and `operations`.
    """

    name: str
    backends: Sequence[Backend[Tensor]]
    spatial_dims: Sequence[int] = (1, 2, 3)

    def call(self, *args: Any) -> Tensor:
        """Call the operator."""
        raise NotImplementedError

    def make(self, spatial_dims: int, dtype: torch.dtype) -> tuple[Any, ...]:
        """Arguments, the same ones each time; `dtype` is that of values, coordinates keep theirs.

        Coordinates are float64 where `dtype` is, else float32.
        """
        raise NotImplementedError

    def empty(self, spatial_dims: int) -> tuple[Any, ...]:
        """Arguments that ask for nothing; the answer has no elements."""
        raise NotImplementedError

    def reasons(self, backend: Backend[Tensor], *args: Any) -> list[str]:
        """Why a backend refuses these arguments of `call`, where they are not those of its run."""
        return backend.reasons(*args)

    def drawn(self, draw: Callable[..., Any], spatial_dims: int) -> tuple[Any, ...] | None:
        """Arguments in float32 of sizes that `draw` draws from hypothesis' strategies.

        None where what was drawn cannot be asked.
        """
        raise NotImplementedError

    def operations(self, *args: Any) -> list[tuple[Any, tuple[Any, ...]]]:
        """PyTorch's operators that `call` uses in its compiled backends, with their arguments."""
        raise NotImplementedError

    def test_every_backend_is_tested(self) -> None:
        """Else this one is skipped, and says what this machine lacks."""
        lacking = [f"{b.name}: {b.lacking}" for b in self.backends if b.lacking]
        if lacking:
            raise SkipTest(f"{self.name} without {'; '.join(lacking)}")

    def test_backends_agree_with_the_reference(self) -> None:
        """Values and every gradient, within the tolerance that a backend states per dtype."""
        for backend in self._usable():
            for dtype in backend.tolerance:
                for dims in self.spatial_dims:
                    self._agree(backend, self.make(dims, dtype), dtype)

    def test_backends_agree_on_drawn_sizes(self) -> None:
        """The same for sizes nobody thought of, without nothing at all among them."""
        for backend in self._usable():
            for dims in self.spatial_dims:
                if backend.tolerance:
                    self._agree_on_drawn_sizes(backend, dims)

    def _agree_on_drawn_sizes(self, backend: Backend[Tensor], dims: int) -> None:
        from hypothesis import given, settings, strategies

        @settings(max_examples=12, deadline=None, derandomize=True, database=None)
        @given(strategies.data())
        def agree(data: Any) -> None:
            args = self.drawn(data.draw, dims)
            if args is not None:
                self._agree(backend, args, torch.float32)

        agree()

    def _agree(self, backend: Backend[Tensor], args: Sequence[Any], dtype: torch.dtype) -> None:
        args = _on_its_device(backend, args)
        if self.reasons(backend, *args):
            return
        with using(**{self.name: backend.name}):
            ours = _with_gradients(self.call, args)
        with using(**{self.name: "reference"}):
            theirs = _with_gradients(self.call, args)
        tolerance = backend.tolerance[dtype]
        for x, y in zip(ours, theirs, strict=True):
            torch.testing.assert_close(x, y, rtol=tolerance, atol=tolerance)

    def test_operators_are_registered_as_they_should(self) -> None:
        """Schema, shapes without memory, gradient, dynamic shapes: PyTorch's own check."""
        for backend, args in self._usable_with(torch.float32):
            if backend.name != "reference":
                for operator, given in self.operations(*args):
                    with warnings.catch_warnings():
                        warnings.filterwarnings("ignore", message="The .grad attribute")  # its own
                        torch.library.opcheck(operator, _differentiable(given))

    def test_deterministic_algorithms_repeat_every_bit(self) -> None:
        """Values and gradients, whatever the number of threads."""
        threads = torch.get_num_threads()
        torch.use_deterministic_algorithms(True)
        try:
            for backend, args in self._usable_with(torch.float32):
                with using(**{self.name: backend.name}):
                    torch.set_num_threads(1)
                    once = _with_gradients(self.call, args)
                    torch.set_num_threads(3)
                    again = _with_gradients(self.call, args)
                assert_close(once, again, exact=True)
        finally:
            torch.set_num_threads(threads)
            torch.use_deterministic_algorithms(False)

    def test_gradients_are_those_of_finite_differences(self) -> None:
        """In float64, for each backend that takes it."""
        for backend, args in self._usable_with(torch.float64):
            with using(**{self.name: backend.name}):
                assert torch.autograd.gradcheck(self.call, _differentiable(args))

    def test_memory_layout_does_not_matter(self) -> None:
        """Transposed tensors give what contiguous ones give."""
        for backend, args in self._usable_with(torch.float32):
            strided = [_strided(a) if isinstance(a, Tensor) else a for a in args]
            with using(**{self.name: backend.name}):
                torch.testing.assert_close(self.call(*strided), self.call(*args))

    def test_half_precision_accumulates_in_float(self) -> None:
        """The answer is the one in float32 from the same rounded values, rounded once."""
        for backend, args in self._usable_with(torch.bfloat16):
            exact = [a.float() if isinstance(a, Tensor) else a for a in args]
            with using(**{self.name: backend.name}):
                half, full = self.call(*args), self.call(*exact)
            assert half.dtype == torch.bfloat16
            torch.testing.assert_close(half, full.bfloat16(), rtol=2**-7, atol=1e-4)

    def test_nothing_asked_nothing_answered(self) -> None:
        """With zero gradients, too."""
        for backend in self._usable():
            for dims in self.spatial_dims:
                args = _on_its_device(backend, self.empty(dims))
                if self.reasons(backend, *args):
                    continue
                with using(**{self.name: backend.name}):
                    out, *gradients = _with_gradients(self.call, args)
                assert out.numel() == 0 and all(g.eq(0).all() for g in gradients)

    def test_it_is_one_graph(self) -> None:
        """It compiles without a break, forwards and backwards, to the same values."""
        for backend, args in self._usable_with(torch.float32):
            with using(**{self.name: backend.name}):
                torch.compiler.reset()
                compiled = torch.compile(self.call, fullgraph=True, backend="aot_eager")
                assert_close(_with_gradients(compiled, args), _with_gradients(self.call, args))

    def test_a_backend_that_does_not_exist_is_an_error(self) -> None:
        """Never a silent second path."""
        try:
            with using(**{self.name: "abacus"}):
                self.call(*self.make(self.spatial_dims[0], torch.float32))
        except ValueError as error:
            assert all(b.name in str(error) for b in self.backends)
        else:
            raise AssertionError("another backend was taken instead")

    def _usable(self) -> list[Backend[Tensor]]:
        return [b for b in self.backends if not b.lacking]

    def _usable_with(self, dtype: torch.dtype) -> Iterator[tuple[Backend[Tensor], tuple[Any, ...]]]:
        """Backends with arguments that they do not refuse."""
        for backend in self._usable():
            for dims in self.spatial_dims:
                args = _on_its_device(backend, self.make(dims, dtype))
                if not self.reasons(backend, *args):
                    yield backend, args


def _on_its_device(backend: Backend[Tensor], args: Sequence[Any]) -> tuple[Any, ...]:
    """On the GPU for its backend, where there is one."""
    if backend.name != "gpu" or not torch.cuda.is_available():
        return tuple(args)
    return tuple(a.cuda() if isinstance(a, Tensor) else a for a in args)


def _differentiable(args: Sequence[Any]) -> tuple[Any, ...]:
    """Fresh leaves that want gradients, where arguments are floating point."""
    return tuple(
        a.detach().clone().requires_grad_()
        if isinstance(a, Tensor) and a.is_floating_point()
        else a
        for a in args
    )


def _with_gradients(call: Callable[..., Tensor], args: Sequence[Any]) -> list[Tensor]:
    """The answer, then its gradient by every floating-point argument."""
    leaves = _differentiable(args)
    out = call(*leaves)
    wanted = [a for a in leaves if isinstance(a, Tensor) and a.requires_grad]
    weights = torch.randn(out.shape, generator=seeded()).to(out)
    return [out.detach(), *torch.autograd.grad((out * weights).sum(), wanted)]


def _strided(x: Tensor) -> Tensor:
    """Equal to `x`, with its axes the other way round in memory."""
    order = tuple(reversed(range(x.ndim)))
    return x.permute(order).contiguous().permute(order)
