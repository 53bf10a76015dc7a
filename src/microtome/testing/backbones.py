"""What a backbone promises."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..backbones import Backbone
from ..structures import ImageList
from .checks import assert_close, compiled, rebuilt, seeded, without_gradient


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
        assert without_gradient(backbone) == []

    def test_half_precision_is_close(self) -> None:
        """Under autocast in bfloat16 maps are finite and, on average, as they were."""
        backbone = self.make().eval()
        image = _image(backbone, [2 * m for m in backbone.spec.multiple])
        with torch.no_grad():
            exact = backbone(image)
            with torch.autocast("cpu", torch.bfloat16):
                maps = backbone(image)
        for x, y in zip(maps, exact, strict=True):
            assert (x.float() - y).abs().mean() < 0.1 * y.abs().mean()

    def test_places_matter(self) -> None:
        """Two units of the image that change places change more than their places in the map."""
        backbone = self.make().eval().double()
        image = _image(backbone, [2 * m for m in backbone.spec.multiple]).double()
        with torch.no_grad():
            coarse, other = backbone(image)[-1], backbone(_swapped(image))[-1]
        back = _swapped(other)
        assert (back - coarse).abs().max() > 1e-10 * coarse.abs().max()

    def test_it_is_one_graph(self) -> None:
        """It compiles without a break, to the same values, unless it says otherwise."""
        backbone = self.make().eval()
        image = _image(backbone, backbone.spec.multiple)
        if self.fullgraph:
            with torch.no_grad():
                assert_close(compiled(backbone)(image), backbone(image))

    def test_a_blueprint_rebuilds_it(self) -> None:
        """Through JSON, with weights: the same outputs and the same blueprint."""
        backbone = self.make().eval()
        twin = rebuilt(backbone)
        image = _image(backbone, backbone.spec.multiple)
        with torch.no_grad():
            assert_close(twin(image), backbone(image), exact=True)
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
        assert_close(maps, other)
        assert_close(whole, plain)
        assert all(x.flatten(2).movedim(1, 2)[~keep.flatten(1)].eq(0).all() for x in maps[-1:])


def _shapes(multiple: Sequence[int]) -> list[list[int]]:
    square = [2 * m for m in multiple]
    oblong = [(1 + axis) * m for axis, m in enumerate(multiple, start=1)]
    odd = [2 * m - 1 for m in multiple]
    return [square, oblong, odd]


def _image(backbone: Backbone, shape: Sequence[int]) -> Tensor:
    """Two images padded to what the backbone divides."""
    images = torch.randn(2, backbone.in_channels, *shape, generator=seeded())
    return ImageList.pad(list(images), backbone.spec.multiple).tensor


def _swapped(x: Tensor) -> Tensor:
    """The upper half's left and right halves change places."""
    upper, lower = x.chunk(2, -2)
    return torch.cat([upper.roll(x.shape[-1] // 2, -1), lower], -2)


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
