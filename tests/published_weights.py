"""What tests of the families share: published weights of an image model in a model of volumes."""

import torch
from safetensors.torch import save_file

from microtome.backbones.family import Weights


def written(model, folder):
    """The weights of `model` as a file."""
    state = {k: v.contiguous() for k, v in model.state_dict().items()}
    save_file(state, folder / "published.safetensors")
    return Weights(str(folder / "published.safetensors"))


def assert_slices_agree(plane, volume, depth, tolerance=1e-5):
    """A grey volume that is constant along z has, in each slice, the maps of its colour image."""
    shape = [2 * m for m in plane.spec.multiple]
    grey = torch.randn(2, 1, *shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        flat = plane.eval()(grey.expand(-1, 3, -1, -1))
        deep = volume.eval()(grey[:, :, None].expand(-1, -1, depth, -1, -1))
    for x, y in zip(deep, flat, strict=True):
        assert (x - y[:, :, None]).abs().max() <= tolerance * y.abs().max()
    report = volume.report
    assert report.share == 1.0 and not report.mismatched and report.adapted
