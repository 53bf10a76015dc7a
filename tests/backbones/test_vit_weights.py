"""Published weights in our own vision transformer: timm's, ViTDet's, SAM's; none dropped unsaid."""

import pytest
import timm
import torch
from small_vits import TINY, close, stirred
from torch import nn
from transformers import VitDetConfig, VitDetModel

from microtome.backbones.tokens import on_grid
from microtome.backbones.vit import ViT
from microtome.weights import read_state
from published_weights import written


@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-5), (torch.float64, 1e-9)])
@pytest.mark.parametrize(
    "options, registers",
    [
        ({}, 1),
        ({"reg_tokens": 2}, 3),
        ({"reg_tokens": 2, "no_embed_class": True}, 3),
        ({"class_token": False, "global_pool": "avg"}, 0),
    ],
    ids=["class token", "registers", "registers without a place", "patches only"],
)
def test_timms_weights_load_with_their_tokens(options, registers, dtype, tolerance, tmp_path):
    theirs = timm.create_model(
        "vit_tiny_patch16_224", img_size=48, num_classes=0, **options, **TINY
    )
    nn.init.normal_(theirs.pos_embed)
    weights = written(theirs, tmp_path)
    ours = ViT(num_registers=registers, positions="absolute", grid=3, weights=weights, **TINY)
    assert ours.report.share == 1.0 and not ours.report.adapted and not ours.report.unused
    ours, theirs = ours.eval().to(dtype), theirs.eval().to(dtype)
    theirs.norm = theirs.norm if registers else theirs.fc_norm
    image = torch.randn(1, 3, 48, 48, dtype=dtype)
    with torch.no_grad():
        expected = theirs.forward_features(image)[:, registers:]
        close(ours(image)[0].flatten(2).mT, expected, tolerance)


@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-5), (torch.float64, 1e-9)])
@pytest.mark.parametrize("shape", [(64, 64), (80, 112)], ids=["own size", "other size"])
@pytest.mark.parametrize("relative", [False, True])
def test_windows_are_vitdets(relative, shape, dtype, tolerance, tmp_path):
    """Windows that do not divide the grid, resampled positions, a bottleneck after each group."""
    config = VitDetConfig(
        hidden_size=48, num_hidden_layers=4, num_attention_heads=4, image_size=64, window_size=3,
        pretrain_image_size=64, patch_size=16, use_relative_position_embeddings=relative,
        window_block_indices=[0, 2], residual_block_indices=[1, 3],
    )  # fmt: skip
    theirs = stirred(VitDetModel(config))
    more = {"positions": "absolute", "relative": relative, "grid": 4, "residual": "last"}
    sizes = {"embed_dim": 48, "depth": 4, "num_heads": 4, "window": 3, "groups": 2}
    ours = ViT(weights=written(theirs, tmp_path)._replace(at_least=0.9), **more, **sizes)
    assert ours.report.missing == ("norm.weight", "norm.bias") and not ours.report.unused
    ours, theirs = ours.eval().to(dtype), theirs.to(dtype)
    image = torch.randn(2, 3, *shape, dtype=dtype)
    with torch.no_grad():
        found = on_grid(ours.run(ours.embed(image), 0, 4))
        close(found, theirs(image).last_hidden_state, tolerance)


def test_sams_positions_are_understood():
    """[1, *grid, C], and another spelling of the networks."""
    ours = ViT(positions="absolute", grid=(3, 5), **TINY)
    state = {f"image_encoder.{k}": v for k, v in ours.state_dict().items() if k != "registers"}
    state["image_encoder.pos_embed"] = ours.pos_embed.movedim(1, -1)
    state = {k.replace("mlp.fc", "mlp.lin"): v for k, v in state.items()}
    found = ours.translated(state)
    assert found.keys() == ours.state_dict().keys()
    assert all(v.equal(found[k]) for k, v in ours.state_dict().items())


def published(folder, shape=(48, 48), **options):
    more = {"img_size": shape, "num_classes": 0, **TINY, **options}
    return written(timm.create_model("vit_tiny_patch16_224", **more), folder)


@pytest.mark.parametrize(
    "published_with, ours, message",
    [
        ({}, {}, r"pos_embed: set positions='absolute'; registers .*: set num_registers=1"),
        ({}, {"positions": "absolute"}, r"lack registers \[1, 1, 48\] for .* num_registers=1$"),
        ({"reg_tokens": 2}, {"positions": "absolute", "num_registers": 1}, "num_registers=3"),
        ({}, {"positions": "rotary", "num_registers": 1}, "lack pos_embed: set positions='abs"),
        ({}, {"positions": "absolute", "window": 2, "patch": 8}, r"patch_embed.*: shapes differ$"),
        (
            {"init_values": 0.1},
            {"positions": "absolute", "num_registers": 1},
            r"lack blocks\.0\.ls1\.gamma, …: ViT has no such part$",
        ),
    ],
)
def test_weights_whose_features_would_differ_are_refused(published_with, ours, message, tmp_path):
    weights = published(tmp_path, **published_with)._replace(at_least=0.9)
    with pytest.raises(ValueError, match=message):
        ViT(weights=weights, **ours, **TINY)


@pytest.mark.parametrize(
    "less, message",
    [
        ({"relative": False}, r"lack blocks\.0\..*tables.0, …: set relative=True"),
        ({"residual": "none"}, r"lack residuals\.0\..*, …: set residual='all' or 'last'"),
    ],
)
def test_parts_of_vitdets_blocks_are_not_dropped(less, message, tmp_path):
    sizes = {"positions": "absolute", "grid": 4, "window": 2, **TINY}
    more = {"relative": True, "residual": "all"}
    weights = written(ViT(**sizes, **more), tmp_path)
    with pytest.raises(ValueError, match=message):
        ViT(weights=weights, **sizes, **{**more, **less})


def test_what_features_do_without_may_stay_in_the_file(tmp_path):
    """ViTDet begins without a class token; fewer blocks and a head are choices, not accidents."""
    weights = published(tmp_path)
    windows = ViT(positions="absolute", grid=3, window=2, weights=weights, **TINY)
    assert windows.report.mismatched == ("registers [1, 1, 48] for [1, 0, 48]",)
    kept = {"positions": "absolute", "grid": 3, "num_registers": 1}
    assert ViT(weights=weights, **kept, **{**TINY, "depth": 1}).report.share == 1.0
    weights = published(tmp_path, num_classes=5)
    assert {*ViT(weights=weights, **kept, **TINY).report.unused} == {"head.weight", "head.bias"}


def test_a_grid_that_is_no_square_must_be_told(tmp_path):
    """12 x 16 tokens and a class token are not 13 x 13 and 24 tokens."""
    weights = published(tmp_path, (192, 256))
    more = {"positions": "absolute", "num_registers": 1, "weights": weights, **TINY}
    with pytest.raises(ValueError, match=r"193 positions, 1 class .*neither a square .*\[14, 14\]"):
        ViT(**more)
    ours = ViT(grid=(12, 16), **more)
    sequence = read_state(weights.path)["pos_embed"][0, 1:]  # [N, C], x fastest
    torch.testing.assert_close(ours.pos_embed[0, :, 3, 5], sequence[3 * 16 + 5])
    assert ours.report.share == 1.0 and not ours.report.adapted
    volume = ViT(patch=(4, 16, 16), spatial_dims=3, grid=(2, 12, 16), **more)
    torch.testing.assert_close(volume.pos_embed[0, :, 1, 3, 5], sequence[3 * 16 + 5])
