"""timm's models by name: equal to timm, honest about their shapes, rebuilt without a network."""

import json

import pytest
import timm
import torch
from safetensors.torch import save_file

from microtome.backbones import Normalisation
from microtome.backbones.pretrained import PretrainedPyramid, PretrainedViT
from microtome.blueprint import build
from microtome.testing import BackboneContract

TINY = {"depth": 2}
CONVNEXT = {"depths": [1, 1, 1, 1], "dims": [8, 16, 16, 24]}
VITS = [
    ("vit_tiny_patch16_224", TINY),
    ("vit_tiny_patch16_224", {**TINY, "patch_size": 8}),
    ("vit_small_patch14_reg4_dinov2", {"depth": 1}),
    ("vit_small_patch16_dinov3", {"depth": 1}),
    ("eva02_tiny_patch14_224", TINY),
    ("deit_tiny_distilled_patch16_224", TINY),
]


class TestViT(BackboneContract):
    def make(self):
        return PretrainedViT("vit_tiny_patch16_224", options={**TINY, "patch_size": [8, 16]})


class TestViTWithRegisters(BackboneContract):
    def make(self):
        return PretrainedViT("vit_small_patch14_reg4_dinov2", in_channels=1, options={"depth": 1})


class TestViTWithRotaryPositions(BackboneContract):
    def make(self):
        return PretrainedViT("eva02_tiny_patch14_224", options=TINY)


class TestViTWithRotaryPositionsPerBlock(BackboneContract):
    def make(self):
        return PretrainedViT("vit_small_patch16_rope_mixed_224", options=TINY)


class TestResNet(BackboneContract):
    def make(self):
        return PretrainedPyramid("test_resnet", in_channels=2)


class TestConvNeXt(BackboneContract):
    def make(self):
        return PretrainedPyramid("convnext_atto", options=CONVNEXT)


class TestSwin(BackboneContract):
    def make(self):
        options = {"depths": [1, 1], "num_heads": [2, 4], "embed_dim": 16}
        return PretrainedPyramid("swin_tiny_patch4_window7_224", options=options)


@pytest.mark.parametrize("name, options", VITS)
@pytest.mark.parametrize("native", [True, False])
def test_a_vit_is_timms(name, options, native):
    torch.manual_seed(0)
    theirs = timm.create_model(name, num_classes=0, dynamic_img_size=True, **options).eval()
    ours = PretrainedViT(name, options=options).eval()
    ours.vit.load_state_dict(theirs.state_dict(), strict=False)
    patch = ours.mask_unit[0]
    size = theirs.patch_embed.img_size if native else (3 * patch, 5 * patch)
    image = torch.randn(1, 3, *size)
    with torch.no_grad():
        (x,) = ours(image)
        expected = theirs.forward_features(image)[:, theirs.num_prefix_tokens :]
    torch.testing.assert_close(x.flatten(2).mT, expected, rtol=0, atol=0)
    assert ours.spec.strides == ((float(patch), float(patch)),)


@pytest.mark.parametrize("name", ["resnet18", "convnext_atto", "test_efficientnet"])
def test_a_pyramid_is_timms(name):
    theirs = timm.create_model(name, features_only=True).eval()
    ours = PretrainedPyramid(name).eval()
    ours.net.load_state_dict(theirs.state_dict())
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        for x, y in zip(ours(image), theirs(image), strict=True):
            torch.testing.assert_close(x, y, rtol=0, atol=0)
    assert ours.spec.channels == tuple(theirs.feature_info.channels())
    assert [s[0] for s in ours.spec.strides] == theirs.feature_info.reduction()


def test_of_equal_strides_the_deepest_is_taken():
    backbone = PretrainedPyramid("xcit_nano_12_p16_224", options={"depth": 3})
    assert backbone.spec.strides == ((16.0, 16.0),) and backbone.levels == (2,)


def test_blocks_run_in_pieces():
    vit = PretrainedViT("vit_tiny_patch16_224", options=TINY).eval()
    image = torch.randn(1, 3, 32, 48)
    with torch.no_grad():
        tokens = vit.run(vit.run(vit.embed(image), 0, 1), 1, 2)
        torch.testing.assert_close(vit.to_map(tokens), vit(image)[0])
    assert (tokens.grid, tokens.prefix) == ((2, 3), 1)


def test_a_mask_keeps_tokens_from_seeing_others():
    vit = PretrainedViT("eva02_tiny_patch14_224", options=TINY).eval()
    tokens = vit.embed(torch.randn(1, 3, 28, 28))
    only_self = torch.eye(5, dtype=torch.bool)[None, None]
    x = vit.run(tokens, 0, 2, only_self).x
    changed = tokens._replace(x=tokens.x.clone().index_fill_(1, torch.tensor([4]), 1.0))
    torch.testing.assert_close(vit.run(changed, 0, 2, only_self).x[:, :4], x[:, :4])


@pytest.mark.parametrize("name", ["eva02_tiny_patch14_224", "vit_small_patch16_rope_mixed_224"])
def test_kept_tokens_keep_their_own_positions(name):
    torch.manual_seed(0)
    vit = PretrainedViT(name, options={"depth": 3}).eval()
    with torch.no_grad():
        for block in vit.vit.blocks:  # fresh attention is so even that positions hardly matter
            for name, weight in block.attn.named_parameters():
                weight.mul_(
                    20 if name.endswith(("q_proj.weight", "k_proj.weight", "qkv.weight")) else 1
                )
        image = torch.randn(2, 3, *[4 * u for u in vit.mask_unit])
        keep = torch.ones(2, 4, 4, dtype=torch.bool)
        torch.testing.assert_close(vit(image, keep=keep), vit(image), rtol=1e-4, atol=1e-4)
        keep[0, 0], keep[1, 3] = False, False
        both = vit(image, keep=keep)[0]
        torch.testing.assert_close(both[1:], vit(image[1:], keep=keep[1:])[0], rtol=1e-4, atol=1e-4)


def test_unequal_numbers_of_kept_units_are_refused():
    vit = PretrainedViT("vit_tiny_patch16_224", options=TINY)
    keep = torch.tensor([[[True, True]], [[True, False]]])
    with pytest.raises(ValueError, match=r"equally many units of each image, got \[2, 1\]"):
        vit(torch.randn(2, 3, 16, 32), keep=keep)


def vit_file(path, **options):
    model = timm.create_model("vit_tiny_patch16_224", **TINY, **options)
    save_file(model.state_dict(), path)
    return model


def test_weights_from_a_file_are_all_found_and_positions_resampled(tmp_path):
    theirs = vit_file(tmp_path / "vit.safetensors", img_size=96)
    path = str(tmp_path / "vit.safetensors")
    ours = PretrainedViT("vit_tiny_patch16_224", path, options=TINY)
    assert ours.vit.blocks[1].mlp.fc2.weight.equal(theirs.blocks[1].mlp.fc2.weight)
    assert ours.vit.pos_embed.shape == (1, 1 + 14 * 14, 192)
    assert ours.origin["weights"] == "vit.safetensors"


@pytest.mark.parametrize("in_channels", [1, 4])
def test_a_published_stem_is_adapted(tmp_path, in_channels):
    theirs = vit_file(tmp_path / "vit.safetensors")
    path = str(tmp_path / "vit.safetensors")
    ours = PretrainedViT("vit_tiny_patch16_224", path, in_channels, TINY)
    stem, theirs = ours.vit.patch_embed.proj.weight, theirs.patch_embed.proj.weight
    wanted = theirs.sum(1, keepdim=True) if in_channels == 1 else theirs[:, [0, 1, 2, 0]] * 3 / 4
    torch.testing.assert_close(stem, wanted)
    assert len(ours.normalisation.mean) == in_channels


@pytest.mark.parametrize("name", ["test_resnet", "convnext_atto", "swin_tiny_patch4_window7_224"])
def test_pyramids_take_files_of_complete_models(tmp_path, name):
    options = {"convnext_atto": CONVNEXT}.get(name, {})
    theirs = timm.create_model(name, **options).eval()
    torch.save({"model": theirs.state_dict()}, tmp_path / "x.pth")
    ours = PretrainedPyramid(name, str(tmp_path / "x.pth"), options=options).eval()
    image = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        expected = theirs.forward_intermediates(image, intermediates_only=True)
        for x, y in zip(ours(image), expected, strict=True):
            torch.testing.assert_close(x, y)


def test_weights_of_something_else_are_refused(tmp_path):
    save_file({"conv1.weight": torch.ones(1)}, tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match=r"only 0% .*100% are expected; .*missing: cls_token"):
        PretrainedViT("vit_tiny_patch16_224", str(tmp_path / "x.safetensors"), options=TINY)


def local_folder(path):
    path.mkdir()
    model = timm.create_model("vit_tiny_patch16_224", **TINY, img_size=64, no_embed_class=True)
    save_file(model.state_dict(), path / "model.safetensors")
    config = {
        "architecture": "vit_tiny_patch16_224",
        "num_classes": 7,
        "model_args": {"depth": 2, "img_size": 64, "no_embed_class": True},
        "pretrained_cfg": {
            "input_size": [3, 64, 64],
            "fixed_input_size": True,
            "mean": [0.7, 0.6, 0.5],
            "std": [0.1, 0.2, 0.3],
            "license": "cc-by-4.0",
        },
    }
    (path / "config.json").write_text(json.dumps(config))
    return model


@pytest.mark.parametrize("weights", ["hub", "folder", "none"])
def test_a_local_folder_needs_no_network(tmp_path, weights, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    folder = tmp_path / "model"
    theirs = local_folder(folder).eval()
    weights = str(folder) if weights == "folder" else weights
    ours = PretrainedViT(f"local-dir:{folder}", weights).eval()
    assert ours.normalisation == Normalisation((0.7, 0.6, 0.5), (0.1, 0.2, 0.3))
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        same = ours(image)[0].flatten(2).mT.allclose(theirs.forward_features(image)[:, 1:])
    assert same == (weights != "none")


def test_a_blueprint_says_what_was_built_not_where_it_lay(tmp_path):
    local_folder(tmp_path / "model")
    backbone = PretrainedViT(f"local-dir:{tmp_path / 'model'}", "hub")
    text = json.dumps(backbone.blueprint)
    (tmp_path / "model" / "config.json").unlink()
    twin = build(json.loads(text))
    twin.load_state_dict(backbone.state_dict())
    assert backbone.blueprint["init_args"]["weights"] == "none"
    assert twin.origin == backbone.origin and twin.origin["weights"] == "model"
    assert twin.normalisation == backbone.normalisation


def test_the_hub_is_not_asked_without_reason(monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert PretrainedViT("vit_tiny_patch16_224", options=TINY).origin == {}
    with pytest.raises(OSError, match=r"neither in the cache.*give a local file or folder"):
        PretrainedViT("vit_tiny_patch16_224", "hub", options=TINY)
    with pytest.raises(OSError, match=r"hf-hub:no/body is neither in the cache"):
        PretrainedViT("hf-hub:no/body")


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: PretrainedPyramid("resnet81"), "timm has no model 'resnet81'; did you mean resn"),
        (lambda: PretrainedPyramid("resnet18.x"), "no weights 'x' for resnet18, but .*a1_in1k"),
        (lambda: PretrainedPyramid("test_vit5"), "did you mean"),
        (lambda: PretrainedPyramid("convnext_atto_rms", "hub"), "No pretrained weights"),
        (lambda: PretrainedViT("resnet18"), "not a plain vision transformer: take PretrainedPyr"),
        (lambda: PretrainedPyramid("vit_tiny_patch16_224"), "take PretrainedViT"),
        (lambda: PretrainedPyramid("coat_tiny"), r"not take images of \(64, 96\) pixels"),
        (lambda: PretrainedViT("vit_tiny_patch16_224", options={"x": 1}), "unexpected .* 'x'"),
        (lambda: PretrainedViT("vit_tiny_patch16_224", "https://x.org/y"), "local files only"),
    ],
)
def test_what_cannot_be_built_says_why(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_normalisation_can_be_stated():
    stated = Normalisation((0.7, 0.6, 0.5), (0.1, 0.1, 0.1))
    assert PretrainedPyramid("test_resnet", normalisation=stated).normalisation == stated
    with pytest.raises(ValueError, match="1 channels but 3 means"):
        PretrainedPyramid("test_resnet", in_channels=1, normalisation=stated)
