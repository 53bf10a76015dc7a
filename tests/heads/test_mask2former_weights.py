"""Published checkpoints of Mask2Former, in transformers' layout, into our head."""

import json
import logging

import pytest
import torch
from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, SwinConfig

from microtome.blueprint import build
from microtome.heads.mask2former import Mask2Former
from microtome.structures import Classes, ImageList, PyramidSpec

ADE = Classes(tuple(f"kind {i}" for i in range(150)), ignore_index=255)
MINE = Classes(("background", "gland", "nucleus"))
STRIDES = tuple((float(s), float(s)) for s in (4, 8, 16, 32))
SWIN = PyramidSpec((24, 48, 96, 192), STRIDES, (32, 32))
VIT = PyramidSpec((48,) * 4, STRIDES, (32, 32))
SIZES = {"hidden": 128, "encoder_layers": 2, "decoder_layers": 3, "num_queries": 10}


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A Swin with a Mask2Former for 150 classes, as `facebook/mask2former-swin-*-ade-semantic`."""
    torch.manual_seed(0)
    swin = SwinConfig(
        embed_dim=24, depths=[1, 1, 1, 1], num_heads=[2, 2, 2, 2], window_size=4,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = Mask2FormerConfig(
        backbone_config=swin, feature_size=128, mask_feature_size=128, hidden_dim=128,
        encoder_feedforward_dim=512, dim_feedforward=1024, encoder_layers=2, decoder_layers=4,
        num_attention_heads=8, num_queries=10, num_labels=150,
    )  # fmt: skip
    model = Mask2FormerForUniversalSegmentation(config).eval()
    folder = tmp_path_factory.mktemp("mask2former-swin-ade-semantic")
    model.save_pretrained(folder)
    return model, folder


def test_a_published_head_answers_as_it_does_at_home(published, caplog):
    theirs, folder = published
    head = Mask2Former(SWIN, ADE, **SIZES, pretrained=str(folder)).eval()
    assert not caplog.records
    images = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = theirs(images)
        maps = tuple(theirs.model.pixel_level_module.encoder(images).feature_maps)
        found = head(maps, ImageList.pad(list(images), (32, 32)))
    for value, wanted in (
        (found.class_logits[-1], expected.class_queries_logits),
        (found.mask_logits(), expected.masks_queries_logits),
    ):
        assert (value - wanted).abs().max() <= 1e-4 * wanted.abs().max()


def test_a_torch_file_holds_the_same(published, tmp_path):
    theirs, folder = published
    torch.save(theirs.state_dict(), tmp_path / "pytorch_model.bin")
    one, other = (Mask2Former(SWIN, ADE, **SIZES, pretrained=str(f)) for f in (folder, tmp_path))
    for name, value in one.state_dict().items():
        assert value.equal(other.state_dict()[name]), name


@pytest.mark.parametrize(
    "spec, classes, left",
    [
        (SWIN, MINE, {"decoder.classify"}),
        (VIT, ADE, {"pixels.project.0.0", "pixels.project.1.0", "pixels.laterals.0.0"}),
    ],
    ids=["other classes", "other backbone"],
)
def test_what_is_ones_own_stays_random_and_is_named(published, spec, classes, left, caplog):
    """The 48 channels at stride 8 happen to fit Swin's."""
    _, folder = published
    torch.manual_seed(3)
    fresh = Mask2Former(spec, classes, **SIZES).state_dict()
    torch.manual_seed(3)
    with caplog.at_level(logging.WARNING, logger="microtome"):
        filled = Mask2Former(spec, classes, **SIZES, pretrained=str(folder)).state_dict()
    kept = {name.rpartition(".")[0] for name, v in filled.items() if v.equal(fresh[name])}
    (record,) = caplog.records
    assert "left at random" in record.message and str(folder) in record.message
    assert all(f"{name}.weight [" in record.message for name in left)
    assert {k for k in kept if k.startswith(("pixels.project", "pixels.laterals"))} >= {
        k for k in left if k.startswith("pixels")
    }
    assert ("decoder.classify" in kept) == ("decoder.classify" in left)
    assert filled["decoder.queries"].ne(fresh["decoder.queries"]).any()


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"num_queries": 12}, r"decoder\.queries \[10, 128\] for \[12, 128\].*num_queries"),
        ({"decoder_layers": 2}, r"decoder\.layers\.2\..* is only in the file"),
        ({"decoder_layers": 4}, r"decoder\.layers\.3\..* is not in the file"),
        ({"num_heads": 4}, r"sampling_offsets"),
    ],
)
def test_a_head_of_other_sizes_is_refused(published, changed, message):
    _, folder = published
    with pytest.raises(ValueError, match=message):
        Mask2Former(SWIN, ADE, **{**SIZES, **changed}, pretrained=str(folder))


def test_a_volume_or_another_model_is_refused(published, tmp_path):
    _, folder = published
    volume = PyramidSpec(SWIN.channels, tuple((s[0],) * 3 for s in STRIDES), (32,) * 3)
    with pytest.raises(ValueError, match="two dimensions"):
        Mask2Former(volume, ADE, **SIZES, pretrained=str(folder))
    torch.save({"weight": torch.ones(1)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match="0% of the tensors"):
        Mask2Former(SWIN, ADE, **SIZES, pretrained=str(tmp_path / "other.pth"))


def test_a_blueprint_needs_no_file(published):
    _, folder = published
    head = Mask2Former(SWIN, MINE, **SIZES, pretrained=str(folder))
    assert str(folder) not in json.dumps(head.blueprint)
    build(json.loads(json.dumps(head.blueprint))).load_state_dict(head.state_dict())
