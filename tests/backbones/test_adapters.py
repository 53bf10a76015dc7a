"""The CNN and the transformer adapter, and maps that are remembered."""

import pytest
import torch

from microtome.backbones.cnn_adapter import CNNAdapter
from microtome.backbones.foundation import FoundationViT
from microtome.backbones.low_rank import LowRank
from microtome.backbones.remembered import Remembered
from microtome.backbones.transformer_adapter import TransformerAdapter
from microtome.backbones.tuned import Tuned
from microtome.backbones.vit import ViT
from microtome.backbones.vit_adapter import ViTAdapter
from microtome.testing import BackboneContract

SMALL = {"depth": 1, "embed_dim": 48, "num_heads": 4}


def small(name="kaiko_vits16"):
    return FoundationViT(name, options=SMALL)


def volume():
    return ViT(1, (2, 8, 8), 48, 1, 4, spatial_dims=3)


class TestCNNAdapter(BackboneContract):
    def make(self):
        return CNNAdapter(small("uni_v2"), 8)


class TestCNNAdapterOfAVolume(BackboneContract):
    def make(self):
        return CNNAdapter(volume(), 8)


class TestTransformerAdapter(BackboneContract):
    def make(self):
        return TransformerAdapter(small("hibou_b"), 2, 16, layer_scale=0.1)


class TestTransformerAdapterOfAVolume(BackboneContract):
    def make(self):
        return TransformerAdapter(volume(), 1, 16, layer_scale=0.1)


class TestRemembered(BackboneContract):
    fullgraph = False  # images are known by their content

    def make(self):
        return Remembered(Tuned(small(), "frozen"))

    def test_every_parameter_gets_a_gradient(self):
        """There is none to train."""


@pytest.mark.parametrize(
    "vit, strides",
    [
        (lambda: small("uni_v1"), [(2, 2), (4, 4), (8, 8), (16, 16)]),
        (lambda: small("uni_v2"), [(2, 2), (4, 4), (8, 8), (14, 14)]),
        (lambda: small("kaiko_vits8"), [(2, 2), (4, 4), (8, 8)]),
        (volume, [(2, 2, 2), (2, 4, 4), (2, 8, 8)]),
    ],
)
def test_the_cnn_gives_what_is_finer_than_a_patch(vit, strides):
    assert list(CNNAdapter(vit(), 8).spec.strides) == strides
    with pytest.raises(ValueError, match="nothing lies between pixels and patches of"):
        CNNAdapter(ViT(patch=2, **SMALL))


def test_new_blocks_begin_at_the_published_features():
    vit = small("hibou_b").eval()
    adapter = TransformerAdapter(vit, 3, 16).eval()
    image = torch.randn(1, 3, 28, 42)
    with torch.no_grad():  # the new norm finds its input normal already
        torch.testing.assert_close(adapter(image)[0], vit(image)[0], rtol=1e-2, atol=1e-3)
    with pytest.raises(ValueError, match="at least 1 block"):
        TransformerAdapter(vit, 0)


@pytest.mark.parametrize("around", [ViTAdapter, TransformerAdapter])
def test_models_of_planes_have_no_tokens_to_work_on(around):
    with pytest.raises(ValueError, match="looks at each channel alone"):
        around(small("genbio_pathfm"))


class Counted(Tuned):
    def forward(self, image, spacing=None, keep=None):
        self.seen = getattr(self, "seen", 0) + len(image)
        return super().forward(image, spacing, keep)


def test_each_image_is_computed_once():
    remembered = Remembered(Counted(small(), "frozen")).train()
    images = torch.randn(4, 3, 32, 32)
    first = remembered(images[:3])
    again = remembered(images[[2, 3, 0]])
    assert remembered.backbone.seen == 4
    torch.testing.assert_close(again[0][[2, 0]], first[0][[0, 2]], rtol=0, atol=0)
    assert remembered.held == 4 * 48 * 4 * 4
    remembered(images[:3] + 1e-3)
    assert remembered.backbone.seen == 7, "another image was taken for one of them"
    with torch.autocast("cpu", torch.bfloat16):
        remembered(images[:1])
    assert remembered.backbone.seen == 8, "maps of another precision were taken"
    remembered.load_state_dict(remembered.state_dict())
    remembered(images[:1])
    assert remembered.backbone.seen == 9, "maps of other weights were taken"


def test_beyond_its_memory_maps_are_computed_anew(caplog):
    remembered = Remembered(Counted(small(), "frozen"), gigabytes=1e-6).train()
    images = torch.randn(3, 3, 32, 32)  # 768 bytes of map each
    for _ in range(2):
        remembered(images)
    assert remembered.backbone.seen == 3 + 2 and caplog.text.count("computed anew") == 1


def test_only_what_is_frozen_is_remembered():
    with pytest.raises(ValueError, match=r"expected a frozen backbone.* 4 parameters to train: "):
        Remembered(Tuned(small(), low_rank=LowRank(2, targets=r".*attn\.(qkv|proj)")))
