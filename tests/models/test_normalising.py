"""Normalisation happens once, by statistics of whole sources."""

import pytest
import torch

from microtome.backbones import Normalisation
from microtome.models.normalising import Normaliser, check_samples
from microtome.structures import DataSample, Intensity

PUBLISHED = Normalisation((0.5, 0.25), (0.5, 0.25))
KNOWN = Intensity(
    levels=((0, 255), (0, 255)),
    stated=True,
    mean=(0.5, 0.2),
    std=(0.25, 0.1),
    low=(0.1, 0.0),
    high=(0.9, 0.5),
)


def sample(intensity=KNOWN, dims=2):
    image = torch.stack([torch.full((4,) * dims, 0.5), torch.full((4,) * dims, 0.25)])
    return DataSample(image, intensity=intensity, meta={"name": "slide 7"})


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize(
    "kind, expected",
    [
        ("backbone", (0.0, 0.0)),  # (0.5 - 0.5) / 0.5, (0.25 - 0.25) / 0.25
        ("zscore", (0.0, 0.5)),  # (0.5 - 0.5) / 0.25, (0.25 - 0.2) / 0.1
        ("percentile", (0.5, 0.5)),  # (0.5 - 0.1) / 0.8, 0.25 / 0.5
        ("dataset", (1.0, -0.5)),  # (0.5 - 0.25) / 0.25, (0.25 - 0.5) / 0.5
    ],
)
def test_each_kind_is_what_it_says(kind, expected, dims):
    normaliser = Normaliser(kind, PUBLISHED, 2)
    if kind == "dataset":
        normaliser.set_statistics([0.25, 0.5], [0.25, 0.5])
    (image,) = normaliser([sample(dims=dims)])
    assert image.dtype == torch.float32
    for channel, value in zip(image, expected, strict=True):
        torch.testing.assert_close(channel, torch.full((4,) * dims, value))


def test_one_value_serves_all_channels():
    (image,) = Normaliser("backbone", Normalisation((0.25,), (0.5,)), 2)([sample()])
    assert image[:, 0, 0].tolist() == [0.5, 0.0]


def test_a_sample_without_statistics_is_its_own_source():
    image = torch.linspace(0, 1, 1001).view(1, 1, -1)
    (z,) = Normaliser("zscore", Normalisation(), 1)([DataSample(image)])
    assert z.mean().abs() < 1e-5 and abs(z.std() - 1) < 1e-2
    (p,) = Normaliser("percentile", Normalisation(), 1)([DataSample(image)])
    assert p[0, 0, 10].abs() < 1e-4 and (p[0, 0, 998] - 1).abs() < 1e-4


@pytest.mark.parametrize("kind", ["zscore", "percentile"])
def test_a_flat_image_stays_finite(kind):
    (image,) = Normaliser(kind, Normalisation(), 1)([DataSample(torch.full((1, 4, 4), 0.3))])
    assert image.abs().max() < 1


@pytest.mark.parametrize("kind", ["backbone", "zscore", "percentile", "dataset"])
def test_measured_white_never_meets_published_statistics(kind):
    normaliser = Normaliser(kind, PUBLISHED, 2)
    if kind == "dataset":
        normaliser.set_statistics([0.0, 0.0], [1.0, 1.0])
    measured = sample(KNOWN._replace(stated=False, levels=((90, 4095), (90, 4095))))
    if kind != "backbone":
        normaliser([measured])
        return
    with pytest.raises(ValueError, match=r"slide 7: .*4095.*state `levels.*percentile"):
        normaliser([sample(), measured])


def test_without_published_statistics_measured_white_is_fine():
    Normaliser("backbone", Normalisation(), 2)([sample(KNOWN._replace(stated=False))])


def test_statistics_of_the_data_set_are_needed_and_saved():
    normaliser = Normaliser("dataset", Normalisation(), 2)
    assert normaliser.needs_statistics
    with pytest.raises(ValueError, match=r"call `set_statistics\(mean, std\)` first"):
        normaliser([sample()])
    normaliser.set_statistics([0.5, 0.5], [1.0, 1.0])
    twin = Normaliser("dataset", Normalisation(), 2)
    twin.load_state_dict(normaliser.state_dict())
    assert not twin.needs_statistics and twin([sample()])[0].equal(normaliser([sample()])[0])


def test_statistics_must_be_wanted_and_fit():
    with pytest.raises(ValueError, match="'zscore': it takes no statistics"):
        Normaliser("zscore", Normalisation(), 1).set_statistics([0.0], [1.0])
    with pytest.raises(ValueError, match="expected 2 means"):
        Normaliser("dataset", Normalisation(), 2).set_statistics([0.0], [1.0])
    with pytest.raises(ValueError, match=r"expected one of .*got 'imagenet'"):
        Normaliser("imagenet", Normalisation(), 1)


def test_all_misfits_are_listed_with_the_way_out():
    volume = DataSample(torch.zeros(2, 3, 4, 4))
    grey = DataSample(torch.zeros(1, 4, 4), meta={"name": "grey.png"})
    with pytest.raises(
        ValueError, match=r"an image has 3 axes, expected 2; grey\.png has 1 ch"
    ) as e:
        check_samples([sample(), volume, grey], 2, 2)
    assert "the reader's `channels` (rgb, grey, as_is)" in str(e.value)
    with pytest.raises(ValueError, match="slide 7 has 2 channels but statistics of 1"):
        check_samples([sample(KNOWN._replace(mean=(0.0,)))], 2, 2)
    with pytest.raises(ValueError, match="at least one sample"):
        check_samples([], 2, 2)


def test_a_misfit_of_many_tiles_is_told_once():
    with pytest.raises(ValueError) as told:
        check_samples([sample()] * 3, 1, 2)
    assert str(told.value).count("slide 7") == 1
