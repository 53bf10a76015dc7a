"""InternImage: the authors' definition in two dimensions, one of its slices in three."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch import nn

from microtome.backbones.family import Weights
from microtome.backbones.internimage import InternImage
from microtome.blueprint import build
from microtome.cli.compose import PACKAGED
from microtome.layers import DeformableConv
from microtome.testing import BackboneContract
from published_weights import assert_slices_agree, written

SMALL = {"depths": (1, 1), "channels": 8, "groups": 2, "strides": (2, 2, 2)}


class TestTwoDimensions(BackboneContract):
    def make(self):
        return stirred(InternImage(in_channels=2, drop_path=0.1, **SMALL))


class TestThreeDimensions(BackboneContract):
    """Thick slices: no step along z until voxels are cubes."""

    def make(self):
        more = {**SMALL, "strides": ((1, 2, 2), 2, 2), "post_norm": True}
        return stirred(InternImage(in_channels=1, spatial_dims=3, **more))


def stirred(model):
    """Taps that move, and differ in weight."""
    torch.manual_seed(0)
    for name, value in model.named_parameters():
        if "offsets" in name or "modulation" in name:
            nn.init.normal_(value, std=0.2)
    return model.eval()


@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-5), (torch.float64, 1e-9)])
@pytest.mark.parametrize("name, options", [("pre", {}), ("post", {"post_norm": True, "scale": 2})])
def test_in_the_plane_it_is_the_authors(name, options, dtype, tolerance, tmp_path):
    """internimage.npz holds the answers of their `InternImage` with `core_op="DCNv3_pytorch"`.

    OpenGVLab/InternImage, segmentation/: 8 channels, depths 1 and 2, groups 2 and 4, layer scale 1,
    all weights 0.3 randn of seed 0, and randn of the image; run in float64, its reference
    points too.
    """
    with np.load(Path(__file__).with_name("internimage.npz")) as file:
        saved = {k.removeprefix(f"{name}/"): torch.from_numpy(file[k]) for k in file if name in k}
    state = {k.removeprefix("state/"): v for k, v in saved.items() if k.startswith("state/")}
    torch.save({"state_dict": {f"backbone.{k}": v for k, v in state.items()}}, tmp_path / "x.pth")
    weights = Weights(str(tmp_path / "x.pth"))
    ours = InternImage((1, 2), 8, 2, strides=(2, 2, 2), weights=weights, **options)
    assert ours.report.share == 1.0 and not ours.report.unused and not ours.report.adapted
    with torch.no_grad():
        maps = ours.eval().to(dtype)(saved["image"].to(dtype))
    for level, x in enumerate(maps):
        y = saved[f"map{level}"]
        assert (x - y).abs().max() <= tolerance * y.abs().max()


@pytest.mark.parametrize("post_norm", [False, True])
def test_a_volume_constant_along_z_gives_the_image(post_norm, tmp_path):
    """Exactly, with taps in the plane only."""
    plane = stirred(InternImage(post_norm=post_norm, **SMALL))
    weights = written(plane, tmp_path)
    more = {"kernel": (1, 3, 3), "post_norm": post_norm, "weights": weights, "spatial_dims": 3}
    assert_slices_agree(plane, InternImage(in_channels=1, **SMALL, **more), depth=8)


def test_taps_repeated_along_z_change_nothing_but_at_the_borders(tmp_path):
    """There they see the zeros outside."""
    plane = stirred(InternImage(**SMALL))
    more = {"in_channels": 1, "weights": written(plane, tmp_path), "spatial_dims": 3}
    volume = InternImage(**SMALL, **more).eval()
    grey = torch.randn(1, 1, 16, 16)
    with torch.no_grad():
        flat = plane(grey.expand(-1, 3, -1, -1))[0]
        deep = volume(grey[:, :, None].expand(-1, -1, 32, -1, -1))[0]
    torch.testing.assert_close(deep[:, :, 4], flat, rtol=1e-4, atol=1e-4)
    assert (deep[:, :, 0] - flat).abs().max() > 1e-2


SIZES = {"t": 28_769_520, "s": 48_502_560, "b": 94_909_920, "l": 218_952_370}


@pytest.mark.parametrize("size", SIZES)
def test_named_sizes_have_as_many_parameters_as_the_authors(size):
    """Theirs were counted with the settings of their segmentation configs."""
    text = (PACKAGED / "model" / "backbone" / f"internimage_{size}.yaml").read_text()
    with torch.device("meta"):
        ours = build(yaml.safe_load(text))
    count = sum(p.numel() for p in ours.parameters())
    assert count == SIZES[size]
    assert ours.spec.strides[0] == (4.0, 4.0) and len(ours.spec.channels) == 4


def test_what_does_not_fit_says_so():
    with pytest.raises(ValueError, match="5 strides for 2 levels: expected two for the stem"):
        InternImage((1, 1))
    with pytest.raises(ValueError, match="3 groups do not divide 8 channels"):
        DeformableConv(8, 3, (3, 3))
