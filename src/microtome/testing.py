"""Contract suites: what operators, backbones and heads must hold, as classes for pytest to inherit.

    class TestMyBackbone(BackboneContract):
        def make(self):
            return MyBackbone(channels=8)

Keep the parts small: each test builds one, and one compiles it (without code generation).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .backbones import Backbone
from .blueprint import build
from .heads import Head
from .ops import Backend, using
from .structures import Classes, ImageList, Pyramid, PyramidSpec, Segmentation

__all__ = ["BackboneContract", "HeadContract", "OperatorContract"]


class OperatorContract:
    """What an operator promises, with each of its backends that this machine can run.

    Subclasses say `name`, `backends`, `call` and `make`, and `empty` where nothing can be asked.
    """

    name: str
    backends: Sequence[Backend]
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

    def test_backends_agree_with_the_reference(self) -> None:
        """Values and every gradient, within the tolerance that a backend states per dtype."""
        for backend in self._usable():
            for dtype, tolerance in backend.tolerance.items():
                for dims in self.spatial_dims:
                    with using(**{self.name: backend.name}):
                        ours = _with_gradients(self.call, self.make(dims, dtype))
                    with using(**{self.name: "reference"}):
                        theirs = _with_gradients(self.call, self.make(dims, dtype))
                    for x, y in zip(ours, theirs, strict=True):
                        torch.testing.assert_close(x, y, rtol=tolerance, atol=tolerance)

    def test_gradients_are_those_of_finite_differences(self) -> None:
        """In float64, for each backend that takes it."""
        for backend, dims in self._usable_with(torch.float64):
            args = _differentiable(self.make(dims, torch.float64))
            with using(**{self.name: backend.name}):
                assert torch.autograd.gradcheck(self.call, args)

    def test_memory_layout_does_not_matter(self) -> None:
        """Transposed tensors give what contiguous ones give."""
        for backend, dims in self._usable_with(torch.float32):
            args = self.make(dims, torch.float32)
            strided = [_strided(a) if isinstance(a, Tensor) else a for a in args]
            with using(**{self.name: backend.name}):
                torch.testing.assert_close(self.call(*strided), self.call(*args))

    def test_half_precision_accumulates_in_float(self) -> None:
        """The answer is the one in float32 from the same rounded values, rounded once."""
        for backend, dims in self._usable_with(torch.bfloat16):
            args = self.make(dims, torch.bfloat16)
            exact = [a.float() if isinstance(a, Tensor) else a for a in args]
            with using(**{self.name: backend.name}):
                half, full = self.call(*args), self.call(*exact)
            assert half.dtype == torch.bfloat16
            torch.testing.assert_close(half, full.bfloat16(), rtol=2**-7, atol=1e-4)

    def test_nothing_asked_nothing_answered(self) -> None:
        """With zero gradients, too."""
        for backend in self._usable():
            for dims in self.spatial_dims:
                with using(**{self.name: backend.name}):
                    out, *gradients = _with_gradients(self.call, self.empty(dims))
                assert out.numel() == 0 and all(g.eq(0).all() for g in gradients)

    def test_it_is_one_graph(self) -> None:
        """It compiles without a break, forwards and backwards, to the same values."""
        for backend, dims in self._usable_with(torch.float32):
            args = self.make(dims, torch.float32)
            with using(**{self.name: backend.name}):
                torch.compiler.reset()
                compiled = torch.compile(self.call, fullgraph=True, backend="aot_eager")
                _assert_close(_with_gradients(compiled, args), _with_gradients(self.call, args))

    def test_a_backend_that_does_not_exist_is_an_error(self) -> None:
        """Never a silent second path."""
        try:
            with using(**{self.name: "abacus"}):
                self.call(*self.make(self.spatial_dims[0], torch.float32))
        except ValueError as error:
            assert all(b.name in str(error) for b in self.backends)
        else:
            raise AssertionError("another backend was taken instead")

    def _usable(self) -> list[Backend]:
        return [b for b in self.backends if not b.lacking]

    def _usable_with(self, dtype: torch.dtype) -> Iterator[tuple[Backend, int]]:
        for backend in self._usable():
            for dims in self.spatial_dims:
                if not backend.reasons(*self.make(dims, dtype)):
                    yield backend, dims


class BackboneContract:
    """What a backbone promises; subclasses say `make`, and why where `fullgraph` is False."""

    fullgraph = True

    def make(self) -> Backbone:
        """Build a small one."""
        raise NotImplementedError

    def test_maps_are_as_the_spec_says(self) -> None:
        """Channels, strides and order are true on square, oblong and padded odd images."""
        backbone = self.make().eval()
        strides, multiple = backbone.spec.strides, backbone.spec.multiple
        assert list(strides) == sorted(strides), "levels must be finest first"
        for shape in _shapes(multiple):
            image = _image(backbone, shape)
            with torch.no_grad():
                maps = backbone(image)
            assert len(maps) == len(backbone.spec.channels)
            for level, x in enumerate(maps):
                assert x.shape[:2] == (len(image), backbone.spec.channels[level])
                spans = [n * s for n, s in zip(x.shape[2:], strides[level], strict=True)]
                assert spans == list(image.shape[2:]), f"level {level} of {list(image.shape)}"

    def test_an_image_does_not_see_its_neighbours(self) -> None:
        """In eval mode a batch gives what its images give alone, and the same twice."""
        backbone = self.make().eval()
        image = _image(backbone, backbone.spec.multiple)
        with torch.no_grad():
            together, again, alone = backbone(image), backbone(image), backbone(image[1:])
        for x, same, y in zip(together, again, alone, strict=True):
            torch.testing.assert_close(x, same, rtol=0, atol=0)
            torch.testing.assert_close(x[1:], y, rtol=1e-4, atol=1e-4)

    def test_every_parameter_gets_a_gradient(self) -> None:
        """Otherwise distributed training stops."""
        backbone = self.make().train()
        maps = backbone(_image(backbone, [2 * m for m in backbone.spec.multiple]))
        sum((x * torch.randn_like(x)).sum() for x in maps).backward()
        assert _without_gradient(backbone) == []

    def test_it_is_one_graph(self) -> None:
        """It compiles without a break, to the same values, unless it says otherwise."""
        backbone = self.make().eval()
        image = _image(backbone, backbone.spec.multiple)
        if self.fullgraph:
            with torch.no_grad():
                _assert_close(_compiled(backbone)(image), backbone(image))

    def test_a_blueprint_rebuilds_it(self) -> None:
        """Through JSON, with weights: the same outputs and the same blueprint."""
        backbone = self.make().eval()
        twin = _rebuilt(backbone)
        image = _image(backbone, backbone.spec.multiple)
        with torch.no_grad():
            _assert_close(twin(image), backbone(image), exact=True)
        assert (twin.spec, twin.normalisation) == (backbone.spec, backbone.normalisation)
        assert twin.in_channels == backbone.in_channels

    def test_dropped_units_are_zeros(self) -> None:
        """With `keep`, kept units see nothing of dropped ones; or it is refused by name."""
        backbone = self.make().eval()
        units = _units(backbone)
        image = _image(backbone, [2 * m for m in backbone.spec.multiple])
        keep = torch.ones(len(image), *units, dtype=torch.bool)
        if backbone.mask_unit is None:
            _assert_refused(backbone, image, keep)
            return
        keep.flatten(1)[:, ::2] = False
        hidden = ~keep.view(len(image), 1, *units)
        for unit, size in enumerate(backbone.mask_unit, start=2):
            hidden = hidden.repeat_interleave(size, unit)
        with torch.no_grad():
            maps = backbone(image, keep=keep)
            other = backbone(image.where(~hidden, 9.0), keep=keep)
            whole, plain = backbone(image, keep=torch.ones_like(keep)), backbone(image)
        _assert_close(maps, other)
        _assert_close(whole, plain)
        assert all(x.flatten(2).movedim(1, 2)[~keep.flatten(1)].eq(0).all() for x in maps[-1:])


class HeadContract:
    """What a head promises; subclasses say `make` and `perfect`, perhaps `spec` and `classes`."""

    spec = PyramidSpec((8, 16), ((4.0, 4.0), (8.0, 8.0)), (8, 8))
    classes = Classes(("background", "gland", "nucleus"))
    steps = 80
    learning_rate = 0.01

    def make(self) -> Head[Any]:
        """Build a small one for `self.spec` and `self.classes`."""
        raise NotImplementedError

    def perfect(self, targets: Sequence[Segmentation], images: ImageList) -> Any:
        """The prediction that is certain of these targets."""
        raise NotImplementedError

    def truth(self, shape: Sequence[int]) -> Segmentation:
        """Stripes of all classes, as wide as the coarsest stride."""
        width = int(max(s for level in self.spec.strides for s in level))
        stripes = torch.arange(shape[-1]) // width % self.classes.num_classes
        return Segmentation(stripes.expand(*shape).clone())

    def test_losses_are_those_that_have_weights(self) -> None:
        """And finite, with a gradient for every parameter: for truth, empty and ignored images."""
        head = self.make().train()
        images, pyramid = self._batch()
        for truth in self._truths(images.canvas):
            targets = [truth] * len(images)
            losses = head.losses(head(pyramid, images, targets), targets)
            assert losses.keys() == head.weights.keys()
            assert all(v.ndim == 0 and v.isfinite() for v in losses.values()), losses
            head.zero_grad()
            torch.stack(list(losses.values())).sum().backward()
            assert _without_gradient(head) == []

    def test_every_level_is_read(self) -> None:
        """A level that is not read is computed in vain, and stops distributed training."""
        head = self.make().train()
        images, pyramid = self._batch()
        targets = [self.truth(images.canvas)] * len(images)
        losses = head.losses(head(pyramid, images, targets), targets)
        torch.stack(list(losses.values())).sum().backward()
        assert all(x.grad is not None and x.grad.ne(0).any() for x in pyramid)

    def test_it_learns_one_image(self) -> None:
        """A few steps on fixed maps bring the total loss below a fifth."""
        torch.manual_seed(0)
        head = self.make().train()
        images, pyramid = self._batch()
        targets = [self.truth(images.canvas)] * len(images)
        optimiser = torch.optim.Adam(head.parameters(), self.learning_rate)
        history = []
        for _ in range(self.steps):
            losses = head.losses(head(pyramid, images, targets), targets)
            total = torch.stack([losses[k] * w for k, w in head.weights.items()]).sum()
            optimiser.zero_grad()
            total.backward()
            optimiser.step()
            history.append(total.item())
        assert history[-1] < history[0] / 5, (history[0], history[-1])

    def test_the_decoded_truth_is_the_truth(self) -> None:
        """At each image's own shape, with scores that add up to one."""
        head = self.make().eval()
        images, _ = self._batch()
        targets = [self.truth(images.canvas)] * len(images)
        results = head.decode(self.perfect(targets, images), images)
        assert len(results) == len(images)
        for result, target, shape in zip(results, targets, images.shapes.tolist(), strict=True):
            assert result.scores is not None and target.classes is not None
            assert result.scores.dtype == torch.float32
            torch.testing.assert_close(result.scores.sum(0), torch.ones(*shape))
            expected = target.classes[tuple(slice(s) for s in shape)]
            assert result.decided().classes.equal(expected)  # type: ignore[union-attr]

    def test_it_is_one_graph(self) -> None:
        """`forward` compiles without a break, to the same values, unless it says otherwise."""
        head = self.make().eval()
        images, pyramid = self._batch()
        if head.fullgraph:
            with torch.no_grad():
                _assert_close(_compiled(head)(pyramid, images), head(pyramid, images))

    def test_a_blueprint_rebuilds_it(self) -> None:
        """Through JSON, with weights: the same outputs."""
        head = self.make().eval()
        images, pyramid = self._batch()
        with torch.no_grad():
            _assert_close(_rebuilt(head)(pyramid, images), head(pyramid, images), exact=True)

    def _batch(self) -> tuple[ImageList, Pyramid]:
        """Two images, one of them smaller than the canvas, and random maps of them."""
        generator = _seeded()
        canvas = [4 * m for m in self.spec.multiple]
        smaller = [s - 3 for s in canvas]
        images = ImageList.pad([torch.rand(3, *s) for s in (canvas, smaller)], self.spec.multiple)
        maps = []
        for channels, strides in zip(self.spec.channels, self.spec.strides, strict=True):
            shape = [int(c / s) for c, s in zip(canvas, strides, strict=True)]
            maps.append(torch.randn(2, channels, *shape, generator=generator).requires_grad_())
        return images, tuple(maps)

    def _truths(self, canvas: Sequence[int]) -> Iterator[Segmentation]:
        yield self.truth(canvas)
        yield Segmentation(torch.zeros(*canvas, dtype=torch.long))
        yield Segmentation(torch.full(tuple(canvas), self.classes.ignore_index))


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
    weights = torch.randn(out.shape, generator=_seeded()).to(out)
    return [out.detach(), *torch.autograd.grad((out * weights).sum(), wanted)]


def _strided(x: Tensor) -> Tensor:
    """Equal to `x`, with its axes the other way round in memory."""
    order = tuple(reversed(range(x.ndim)))
    return x.permute(order).contiguous().permute(order)


def _shapes(multiple: Sequence[int]) -> list[list[int]]:
    square = [2 * m for m in multiple]
    oblong = [(1 + axis) * m for axis, m in enumerate(multiple, start=1)]
    odd = [2 * m - 1 for m in multiple]
    return [square, oblong, odd]


def _image(backbone: Backbone, shape: Sequence[int]) -> Tensor:
    """Two images padded to what the backbone divides."""
    images = torch.randn(2, backbone.in_channels, *shape, generator=_seeded())
    return ImageList.pad(list(images), backbone.spec.multiple).tensor


def _seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def _units(backbone: Backbone) -> list[int]:
    unit = backbone.mask_unit or backbone.spec.multiple
    return [2 * m // u for m, u in zip(backbone.spec.multiple, unit, strict=True)]


def _assert_refused(backbone: Backbone, image: Tensor, keep: Tensor) -> None:
    try:
        backbone(image, keep=keep)
    except NotImplementedError as error:
        assert str(error), "a refusal needs a reason"
    else:
        raise AssertionError("`keep` was ignored: no mask_unit, and no NotImplementedError")


def _without_gradient(part: nn.Module) -> list[str]:
    return [n for n, p in part.named_parameters() if p.requires_grad and p.grad is None]


def _compiled(part: nn.Module) -> Any:
    torch.compiler.reset()
    return torch.compile(part, fullgraph=True, backend="aot_eager")


def _rebuilt(part: Any) -> Any:
    twin = build(json.loads(json.dumps(part.blueprint)), ("",))
    assert twin.blueprint == part.blueprint
    twin.load_state_dict(part.state_dict())
    return twin.eval()


def _assert_close(ours: Sequence[Any], theirs: Sequence[Any], exact: bool = False) -> None:
    tolerance = 0.0 if exact else 1e-4
    for x, y in zip(ours, theirs, strict=True):
        torch.testing.assert_close(x, y, rtol=tolerance, atol=tolerance)
