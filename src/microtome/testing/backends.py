"""What an operator promises of all its backends, whatever it returns."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from unittest import SkipTest

import torch
from torch import Tensor

from ..ops import Backend, using
from .checks import assert_close


class BackendContract:
    """What an operator promises, with each of its backends that this machine can run.

    Subclasses say `name`, `backends`, `call` and `make`, `empty` where nothing can be asked, and
    with compiled backends `drawn` and `operations`. Where `backends` state no tolerance, answers
    are the very same, for arguments of all `dtypes`. Operators with gradients inherit
    `OperatorContract`.
    """

    name: str
    backends: Sequence[Backend[Any]]
    spatial_dims: Sequence[int] = (1, 2, 3)
    dtypes: Sequence[torch.dtype] = (torch.float32,)

    def call(self, *args: Any) -> Any:
        """Call the operator: a tensor, or several."""
        raise NotImplementedError

    def make(self, spatial_dims: int, dtype: torch.dtype) -> tuple[Any, ...]:
        """Arguments, the same ones each time; `dtype` is that of values, coordinates keep theirs.

        Coordinates are float64 where `dtype` is, else float32.
        """
        raise NotImplementedError

    def empty(self, spatial_dims: int) -> tuple[Any, ...]:
        """Arguments that ask for nothing; the answer has no elements."""
        raise NotImplementedError

    def reasons(self, backend: Backend[Any], *args: Any) -> list[str]:
        """Why a backend refuses these arguments of `call`, where they are not those of its run."""
        return backend.reasons(*args)

    def drawn(self, draw: Callable[..., Any], spatial_dims: int) -> tuple[Any, ...] | None:
        """Arguments of sizes that `draw` draws from hypothesis' strategies; floats are float32.

        None where what was drawn cannot be asked.
        """
        raise NotImplementedError

    def operations(self, *args: Any) -> list[tuple[Any, tuple[Any, ...]]]:
        """PyTorch's operators that `call` uses in its compiled backends, with their arguments."""
        raise NotImplementedError

    def answers(self, call: Callable[..., Any], args: Sequence[Any]) -> list[Tensor]:
        """All that backends must agree on."""
        out = call(*args)
        return [out] if isinstance(out, Tensor) else list(out)

    def leaves(self, args: Sequence[Any]) -> tuple[Any, ...]:
        """Arguments as PyTorch's own check of an operator wants them."""
        return tuple(args)

    def test_every_backend_is_tested(self) -> None:
        """Else this one is skipped, and says what this machine lacks."""
        lacking = [f"{b.name}: {b.lacking}" for b in self.backends if b.lacking]
        if lacking:
            raise SkipTest(f"{self.name} without {'; '.join(lacking)}")

    def test_backends_agree_with_the_reference(self) -> None:
        """All answers, within the tolerance that a backend states per dtype."""
        for backend in self._compiled():
            for dtype in backend.tolerance or self.dtypes:
                for dims in self.spatial_dims:
                    self._agree(backend, self.make(dims, dtype), dtype)

    def test_backends_agree_on_drawn_sizes(self) -> None:
        """The same for sizes nobody thought of, without nothing at all among them."""
        for backend in self._compiled():
            for dims in self.spatial_dims:
                self._agree_on_drawn_sizes(backend, dims)

    def _agree_on_drawn_sizes(self, backend: Backend[Any], dims: int) -> None:
        from hypothesis import given, settings, strategies

        @settings(max_examples=12, deadline=None, derandomize=True, database=None)
        @given(strategies.data())
        def agree(data: Any) -> None:
            args = self.drawn(data.draw, dims)
            if args is not None:
                self._agree(backend, args, torch.float32)

        agree()

    def _agree(self, backend: Backend[Any], args: Sequence[Any], dtype: torch.dtype) -> None:
        args = on_its_device(backend, args)
        if self.reasons(backend, *args):
            return
        with using(**{self.name: backend.name}):
            ours = self.answers(self.call, args)
        with using(**{self.name: "reference"}):
            theirs = self.answers(self.call, args)
        tolerance = backend.tolerance.get(dtype, 0.0)
        for x, y in zip(ours, theirs, strict=True):
            torch.testing.assert_close(x, y, rtol=tolerance, atol=tolerance)

    def test_operators_are_registered_as_they_should(self) -> None:
        """Schema, shapes without memory, gradient, dynamic shapes: PyTorch's own check."""
        for backend, args in self.usable_with(self.dtypes[0]):
            if backend.name != "reference":
                for operator, given in self.operations(*args):
                    with warnings.catch_warnings():
                        warnings.filterwarnings("ignore", message="The .grad attribute")  # its own
                        torch.library.opcheck(operator, self.leaves(given))

    def test_deterministic_algorithms_repeat_every_bit(self) -> None:
        """Whatever the number of threads."""
        threads = torch.get_num_threads()
        torch.use_deterministic_algorithms(True)
        try:
            for backend, args in self.usable_with(self.dtypes[0]):
                with using(**{self.name: backend.name}):
                    torch.set_num_threads(1)
                    once = self.answers(self.call, args)
                    torch.set_num_threads(3)
                    again = self.answers(self.call, args)
                assert_close(once, again, exact=True)
        finally:
            torch.set_num_threads(threads)
            torch.use_deterministic_algorithms(False)

    def test_memory_layout_does_not_matter(self) -> None:
        """Transposed tensors give what contiguous ones give."""
        for backend, args in self.usable_with(self.dtypes[0]):
            strided = [_strided(a) if isinstance(a, Tensor) else a for a in args]
            with using(**{self.name: backend.name}):
                assert_close(self.answers(self.call, strided), self.answers(self.call, args))

    def test_nothing_asked_nothing_answered(self) -> None:
        """With gradients of zeros, where there are gradients."""
        for backend in self.usable():
            for dims in self.spatial_dims:
                args = on_its_device(backend, self.empty(dims))
                if self.reasons(backend, *args):
                    continue
                with using(**{self.name: backend.name}):
                    out, *others = self.answers(self.call, args)
                assert out.numel() == 0 and all(x.eq(0).all() for x in others)

    def test_it_is_one_graph(self) -> None:
        """It compiles without a break, backwards, too, to the same values."""
        for backend, args in self.usable_with(self.dtypes[0]):
            with using(**{self.name: backend.name}):
                torch.compiler.reset()
                compiled = torch.compile(self.call, fullgraph=True, backend="aot_eager")
                assert_close(self.answers(compiled, args), self.answers(self.call, args))

    def test_a_backend_that_does_not_exist_is_an_error(self) -> None:
        """Never a silent second path."""
        try:
            with using(**{self.name: "abacus"}):
                self.call(*self.make(self.spatial_dims[0], self.dtypes[0]))
        except ValueError as error:
            assert all(b.name in str(error) for b in self.backends)
        else:
            raise AssertionError("another backend was taken instead")

    def usable(self) -> list[Backend[Any]]:
        """Backends that this machine can run."""
        return [b for b in self.backends if not b.lacking]

    def usable_with(self, dtype: torch.dtype) -> Iterator[tuple[Backend[Any], tuple[Any, ...]]]:
        """Those, with arguments that they do not refuse."""
        for backend in self.usable():
            for dims in self.spatial_dims:
                args = on_its_device(backend, self.make(dims, dtype))
                if not self.reasons(backend, *args):
                    yield backend, args

    def _compiled(self) -> list[Backend[Any]]:
        return [b for b in self.usable() if b.name != "reference"]


def on_its_device(backend: Backend[Any], args: Sequence[Any]) -> tuple[Any, ...]:
    """On the GPU for its backend, where there is one."""
    if backend.name != "gpu" or not torch.cuda.is_available():
        return tuple(args)
    return tuple(a.cuda() if isinstance(a, Tensor) else a for a in args)


def _strided(x: Tensor) -> Tensor:
    """Equal to `x`, with its axes the other way round in memory."""
    order = tuple(reversed(range(x.ndim)))
    return x.permute(order).contiguous().permute(order)
