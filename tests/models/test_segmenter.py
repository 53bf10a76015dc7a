"""The segmenter: prepare, train, predict."""

from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import avg_pool2d

from microtome.backbones import Normalisation
from microtome.data.stores import ArraySource
from microtome.heads.dense import Dense
from microtome.heads.mask2former import Mask2Former
from microtome.models import Segmenter, Usage
from microtome.necks import Neck
from microtome.structures import DataSample, PyramidSpec, Segmentation


def samples(segmenter, truth=True, sizes=(13, 9)):
    generator = torch.Generator().manual_seed(1)
    dims, channels = segmenter.spec.spatial_dims, segmenter.backbone.in_channels
    made = []
    for size in sizes:
        shape = (*[7] * (dims - 1), size)
        classes = torch.randint(3, shape, generator=generator)
        image = torch.rand(channels, *shape, generator=generator)
        spacing = (2.0, 0.5, 0.5)[-dims:]
        made.append(DataSample(image, Segmentation(classes) if truth else None, spacing))
    return made


def test_images_and_truth_are_padded_together(segmenter):
    batch = samples(segmenter)
    images, targets = segmenter.prepare(batch)
    assert images.canvas == (8,) * (segmenter.spec.spatial_dims - 1) + (16,)
    assert images.shapes.tolist() == [list(s.shape) for s in batch]
    assert images.spacing.tolist() == [list(s.spacing) for s in batch]
    for image, target, sample in zip(images.tensor, targets, batch, strict=True):
        inside = tuple(slice(n) for n in sample.shape)
        assert image[:, *inside].equal(sample.image)  # this backbone has no statistics
        assert target.classes[inside].equal(sample.truth.classes)
        assert (target.classes != 255).sum() == sample.truth.classes.numel()


def test_without_a_truth_there_are_no_targets(segmenter):
    mixed = [*samples(segmenter), *samples(segmenter, truth=False)]
    assert segmenter.prepare(mixed)[1] is None


def test_a_step_reaches_every_parameter(segmenter):
    images, targets = segmenter.prepare(samples(segmenter))
    losses = segmenter.losses(segmenter(images, targets), targets)
    segmenter.total(losses).backward()
    assert all(p.grad is not None for p in segmenter.parameters())
    with pytest.raises(KeyError, match=r"weights without a loss: \['dice'\]"):
        segmenter.total({"cross_entropy": losses["cross_entropy"]})


def test_what_is_compiled_is_one_graph(segmenter):
    segmenter.eval()
    images, _ = segmenter.prepare(samples(segmenter))
    torch.compiler.reset()
    compiled = torch.compile(segmenter, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        torch.testing.assert_close(compiled(images).logits, segmenter(images).logits)


def test_predictions_have_each_images_own_shape(segmenter):
    batch = samples(segmenter)
    for result, sample in zip(segmenter.predict_samples(batch), batch, strict=True):
        assert result.scores.shape == (3, *sample.shape)
        assert result.scores.dtype == torch.float32 and not result.scores.requires_grad
        torch.testing.assert_close(result.scores.sum(0), torch.ones(sample.shape))


def test_predicting_leaves_every_part_in_its_mode(segmenter):
    segmenter.train()
    segmenter.backbone.eval()
    segmenter.predict_samples(samples(segmenter))
    assert segmenter.training and segmenter.head.training and not segmenter.backbone.training


def test_padding_does_not_depend_on_the_canvas_value(segmenter):
    """A smaller image in a batch is normalised as it is alone."""
    segmenter.backbone.normalisation = segmenter.normaliser.published = Normalisation(
        (0.5,), (0.2,)
    )
    large, small = samples(segmenter)
    together, _ = segmenter.prepare([large, small])
    alone, _ = segmenter.prepare([small])
    inside = tuple(slice(n) for n in small.shape)
    assert together.tensor[1, :, *inside].equal(alone.tensor[0, :, *inside])


class Halving(Neck):
    """Adds a level at twice the stride, so that images must divide by twice as much."""

    def __init__(self, spec):
        super().__init__()
        (channels,), (strides,) = spec.channels, spec.strides
        double = tuple(2 * s for s in strides)
        self.spec = PyramidSpec((channels,) * 2, (strides, double), (8, 8))

    def forward(self, pyramid):
        return (*pyramid, avg_pool2d(pyramid[0], 2))


def test_a_neck_stands_between_backbone_and_head(classes, small_segmenter):
    backbone = small_segmenter().backbone
    segmenter = Segmenter(backbone, partial(Dense, channels=8), classes, neck=Halving)
    assert (backbone.spec.multiple, segmenter.spec.multiple) == ((4, 4), (8, 8))
    batch = samples(segmenter)
    assert segmenter.prepare(batch)[0].canvas == (8, 16)
    assert [r.scores.shape[1:] for r in segmenter.predict_samples(batch)] == [
        s.shape for s in batch
    ]
    assert segmenter.blueprint["init_args"]["neck"]["make"].endswith(".Halving")


def test_a_tile_is_normalised_as_its_source_is(small_segmenter):
    segmenter = small_segmenter(normalisation="zscore")
    pixels = np.zeros((3, 16, 32), np.float32)
    pixels[:, :, 16:] = 1  # one half black, the other white: each alone is flat
    tiled = segmenter.predict(ArraySource(pixels, name="halves"), tile=16, overlap=0.0).classes
    image = DataSample(torch.tensor(pixels), intensity=ArraySource(pixels, name="x").intensity)
    halves = [
        DataSample(image.image[:, :, part], intensity=image.intensity)
        for part in (slice(16), slice(16, 32))
    ]
    expected = [r.decided().classes for r in segmenter.predict_samples(halves)]
    assert tiled.long().equal(torch.cat(expected, 1))


def test_paths_and_arrays_give_the_same(tmp_path, small_segmenter):
    segmenter = small_segmenter()
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    from_file = segmenter.predict(tmp_path / "x.png", tile=16).classes
    assert from_file.shape == (20, 30) and from_file.unique().numel() > 1
    channels_first = torch.tensor(pixels).movedim(-1, 0)
    for same in (
        str(tmp_path / "x.png"),
        pixels,
        pixels / 255,
        channels_first,
        channels_first / 255,
    ):
        assert segmenter.predict(same, tile=16).classes.equal(from_file)


def test_a_grey_model_reads_colour_files_as_grey(tmp_path, small_segmenter):
    segmenter = small_segmenter(in_channels=1)
    Image.fromarray(np.full((8, 8, 3), 100, np.uint8)).save(tmp_path / "x.png")
    assert segmenter.usage.channels == "grey"
    grey = segmenter.predict(np.full((8, 8), 100, np.uint8)).classes
    assert segmenter.predict(tmp_path / "x.png").classes.equal(grey)


def test_usage_decides_how_images_are_predicted(small_segmenter):
    segmenter = small_segmenter()
    image = torch.rand(3, 20, 30)
    seen = []
    segmenter.register_forward_pre_hook(lambda _, given: seen.append(given[0].canvas))
    segmenter.usage = Usage(tile=12, overlap=0.0)
    segmenter.predict(image, batch_size=1)
    segmenter.usage = Usage(mode="resize", tile=8)
    resized = segmenter.predict(image)
    assert seen == [(12, 12)] * 6 + [(8, 8)] and resized.classes.shape == (20, 30)


@pytest.mark.parametrize(
    "image, message",
    [
        (np.zeros((8, 8, 3), np.uint16), "got uint16: only you know what white is"),
        (np.full((8, 8, 3), 7.0), r"floats in 0 \(black\) … 1 \(white\), got 7 … 7"),
        (torch.full((3, 8, 8), torch.nan), "got nan … nan"),
        (np.zeros((8,)), r"images of 2 axes: .*got \[8\]"),
        (torch.zeros(8, 8), r"expected a tensor \[C, \*S\]"),
        (np.zeros((8, 8)), "array has 1 channels, expected 3"),
    ],
)
def test_arrays_that_are_no_images_are_refused(image, message, small_segmenter):
    with pytest.raises(ValueError, match=message):
        small_segmenter().predict(image)


def test_sixteen_bits_do_not_meet_published_statistics_by_accident(tmp_path, small_segmenter):
    segmenter = small_segmenter(published=Normalisation((0.5,), (0.2,)))
    pixels = np.random.default_rng(0).integers(100, 4000, (16, 16), np.uint16)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    with pytest.raises(ValueError, match="choose `normalisation: percentile`"):
        segmenter.predict(tmp_path / "x.png")
    segmenter.usage = segmenter.usage._replace(levels=(0, 4095))
    assert segmenter.predict(tmp_path / "x.png").classes.shape == (16, 16)


def test_it_predicts_under_autocast(small_segmenter, classes):
    head = partial(Mask2Former, num_queries=4, hidden=16, encoder_layers=1, num_heads=2)
    segmenter = Segmenter(small_segmenter().backbone, partial(head, decoder_layers=1), classes)
    with torch.autocast("cpu", torch.bfloat16):
        (result,) = segmenter.predict_samples(samples(segmenter, sizes=(9,)))
    assert result.scores.dtype == torch.float32 and result.scores.shape == (3, 7, 9)
