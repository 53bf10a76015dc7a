"""What a head promises."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from ..heads import Head
from ..structures import Classes, ImageList, Pyramid, PyramidSpec, Segmentation
from .checks import assert_close, compiled, rebuilt, seeded, without_gradient


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
            assert without_gradient(head) == []

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

    def test_it_trains_and_decodes_in_mixed_precision(self) -> None:
        """Finite losses under bfloat16 autocast; decoding, without it, takes what forward gave."""
        head = self.make().train()
        images, pyramid = self._batch()
        targets = [self.truth(images.canvas)] * len(images)
        with torch.autocast("cpu", torch.bfloat16):
            prediction = head(pyramid, images, targets)
            losses = head.losses(prediction, targets)
        assert all(v.dtype == torch.float32 and v.isfinite() for v in losses.values())
        for result in head.decode(prediction, images):
            scores = result.instances.scores if result.instances is not None else result.scores
            assert scores is not None and scores.dtype == torch.float32

    def test_it_is_one_graph(self) -> None:
        """`forward` compiles without a break, to the same values, unless it says otherwise."""
        head = self.make().eval()
        images, pyramid = self._batch()
        if head.fullgraph:
            with torch.no_grad():
                assert_close(compiled(head)(pyramid, images), head(pyramid, images))

    def test_a_blueprint_rebuilds_it(self) -> None:
        """Through JSON, with weights: the same outputs."""
        head = self.make().eval()
        images, pyramid = self._batch()
        with torch.no_grad():
            assert_close(rebuilt(head)(pyramid, images), head(pyramid, images), exact=True)

    def _batch(self) -> tuple[ImageList, Pyramid]:
        """Two images, one of them smaller than the canvas, and random maps of them."""
        generator = seeded()
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
