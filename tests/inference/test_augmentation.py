"""Test-time augmentation against averages made by hand."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from microtome.data.resizing import resized
from microtome.inference import predict, predict_resized, predict_scores
from microtome.inference.augmentation import Averaged, View, Views, averaged
from microtome.structures import DataSample, Instances, Segmentation

COUNTS = {("mirror", 2): 4, ("turn", 2): 4, ("both", 2): 8}
COUNTS |= {("mirror", 3): 8, ("turn", 3): 4, ("both", 3): 16}
SHAPES = {2: (6, 9), 3: (4, 6, 9)}


@pytest.mark.parametrize(("ways", "dims"), COUNTS)
def test_views_differ_and_lead_back(ways, dims):
    sample = DataSample(torch.rand(2, *SHAPES[dims]), spacing=(3.0, 2.0, 1.0)[-dims:])
    seen = Views(ways).all(dims)
    shown = [view.of(sample) for view in seen]
    assert len({(tuple(s.shape), s.image.numpy().tobytes()) for s in shown}) == COUNTS[ways, dims]
    assert shown[0].image.equal(sample.image)
    for view, one in zip(seen, shown, strict=True):
        assert view.back(one.image, sample.shape).equal(sample.image)
        sizes = dict(zip(sample.shape, sample.spacing, strict=True))
        assert one.spacing == tuple(sizes[n] for n in one.shape), "each side keeps its spacing"


def test_the_mean_of_eight_made_by_hand(network):
    net, image = network(2), torch.rand(2, 6, 9)

    def scores(x):
        return net.predict_samples([DataSample(x)])[0].scores

    by_hand = torch.zeros(3, 6, 9)
    for turns in range(4):
        turned = image.rot90(turns, (1, 2))
        by_hand += scores(turned).rot90(-turns, (1, 2))
        by_hand += scores(turned.flip(2)).flip(2).rot90(-turns, (1, 2))
    with torch.no_grad():
        (found,) = Averaged(net, "both").predict_samples([DataSample(image)])
    assert torch.allclose(found.scores, by_hand / 8, atol=1e-6)
    assert not torch.allclose(found.scores, scores(image), atol=1e-3)


@pytest.mark.parametrize("dims", [2, 3])
def test_mirroring_made_by_hand(network, dims):
    net, image = network(dims), torch.rand(2, *SHAPES[dims])
    by_hand = torch.zeros(3, *SHAPES[dims])
    for number in range(2**dims):
        axes = [axis + 1 for axis in range(dims) if number >> axis & 1]
        by_hand += net.predict_samples([DataSample(image.flip(axes))])[0].scores.flip(axes)
    with torch.no_grad():
        (found,) = Averaged(net, "mirror").predict_samples([DataSample(image)])
    assert torch.allclose(found.scores, by_hand / 2**dims, atol=1e-6)


@pytest.mark.parametrize("dims", [2, 3])
def test_scales_made_by_hand(network, dims):
    """Against torch's own resizing, where nothing shrinks (it smooths what does, on two axes)."""
    net, shape = network(dims), SHAPES[dims]
    image, mode = torch.rand(1, 2, *shape), {2: "bilinear", 3: "trilinear"}[dims]
    big = F.interpolate(image, [2 * n for n in shape], mode=mode)
    by_hand = net.predict_samples([DataSample(image[0])])[0].scores
    down = net.predict_samples([DataSample(big[0])])[0].scores[None]
    by_hand = by_hand + resized(down[0], shape)
    with torch.no_grad():
        (found,) = Averaged(net, Views(scales=(1.0, 2.0))).predict_samples([DataSample(image[0])])
    assert torch.allclose(found.scores, by_hand / 2, atol=1e-6)


def test_a_resized_view_keeps_micrometres_and_comes_back():
    sample = DataSample(torch.rand(1, 7, 10), spacing=(2.0, 1.0))
    view = View(0.75, (-1,), 1)
    seen = view.of(sample)
    assert seen.shape == (8, 5)
    assert [n * s for n, s in zip(seen.shape, seen.spacing, strict=True)] == [10.0, 14.0]
    assert view.back(seen.image, sample.shape).shape == (1, 7, 10)
    ramp = torch.linspace(0, 1, 40).expand(1, 40, 40)
    again = view.back(view.of(DataSample(ramp)).image, (40, 40))
    assert (again - ramp)[:, 2:-2, 2:-2].abs().max() < 1e-3, "mirrored, turned and back"


def test_views_of_every_scale_and_their_name():
    views = Views("both", (0.75, 1.0, 1.25))
    assert len(set(views.all(2))) == 24
    assert str(views) == "both at 0.75, 1, 1.25"
    assert str(Views("mirror")) == "mirror" and str(Views(scales=(2.0,))) == "at 2"


class Symmetric:
    """A network that does not know directions: every pixel by the mean around it."""

    def predict_samples(self, samples):
        pool = nn.AvgPool2d if samples[0].image.ndim == 3 else nn.AvgPool3d
        means = [pool(3, 1, 1)(s.image[None])[0].sum(0) for s in samples]
        return [Segmentation(scores=torch.stack([m, 1 - m])) for m in means]


@pytest.mark.parametrize("ways", ["mirror", "turn", "both"])
@pytest.mark.parametrize("dims", [2, 3])
def test_nothing_changes_for_an_equivariant_network(memory, ways, dims):
    """In tiles too, whose seams are blended as ever."""
    source = memory(torch.rand(2, *SHAPES[dims]))
    options = {"tile": 5, "overlap": 0.5, "batch_size": 2}
    plain = predict_scores(source, Symmetric(), **options)
    found = predict_scores(source, Averaged(Symmetric(), ways), **options)
    assert torch.allclose(found, plain, atol=1e-5)


def test_whole_images_tiled_and_resized(memory, network):
    """One tile as large as the image is the image itself; batches do not matter."""
    source, model = memory(torch.rand(2, 12, 10)), Averaged(network(2), "both")
    with torch.no_grad():
        (whole,) = model.predict_samples([DataSample(source.image)])
    assert predict(source, model, tile=12).classes.equal(whole.scores.argmax(0).byte())
    assert predict_resized(source, model, size=(12, 10)).classes.equal(
        whole.scores.argmax(0).byte()
    )
    one = predict_scores(source, model, tile=6, batch_size=1)
    assert torch.allclose(one, predict_scores(source, model, tile=6, batch_size=3), atol=1e-6)


def test_objects_and_other_ways_are_refused():
    class Objects:
        def predict_samples(self, samples):
            return [Segmentation(instances=Instances(torch.zeros(0))) for _ in samples]

    with pytest.raises(ValueError, match="objects of mirrored and turned copies"):
        Averaged(Objects(), "mirror").predict_samples([DataSample(torch.rand(1, 4, 4))])
    with pytest.raises(ValueError, match="answers with objects"):
        averaged(Objects(), "mirror", scored=False)
    with pytest.raises(ValueError, match=r"one of \('mirror', 'turn', 'both'\), got 'flip'"):
        Averaged(Symmetric(), "flip")
    for scales in ((), (0.0,), (float("inf"),), (1.0, -1.0)):
        with pytest.raises(ValueError, match="expected scales above 0"):
            Averaged(Symmetric(), Views(scales=scales))
    model = Objects()
    assert averaged(model, None, scored=False) is model
