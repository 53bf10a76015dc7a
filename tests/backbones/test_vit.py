"""Our own vision transformer: timm's where timm has one, the same in any number of dimensions."""

import pytest
import timm
import torch
import yaml
from timm.models.eva import Eva
from torch import nn
from transformers import VitDetConfig, VitDetModel

from microtome.backbones.tokens import on_grid
from microtome.backbones.vit import ViT
from microtome.blueprint import build
from microtome.cli.compose import PACKAGED
from microtome.layers import sincos_positions
from microtome.testing import BackboneContract
from microtome.weights import read_state
from published_weights import assert_slices_agree, written

TINY = {"embed_dim": 48, "depth": 2, "num_heads": 4}


class TestTwoDimensions(BackboneContract):
    def make(self):
        return ViT(patch=(8, 4), num_registers=2, **TINY)


class TestThreeDimensions(BackboneContract):
    def make(self):
        return ViT(1, (2, 4, 4), spatial_dims=3, drop_path=0.1, **TINY)


class TestRotaryPositions(BackboneContract):
    def make(self):
        return ViT(patch=8, positions="rotary", num_registers=1, **TINY)


class TestWindowsInThePlane(BackboneContract):
    """Windows that do not divide the grid, residual bottlenecks, learnt positions of both kinds."""

    def make(self):
        more = {"positions": "absolute", "relative": True, "window": 3, "residual": "all"}
        return stirred(ViT(patch=8, grid=3, groups=1, **more, **TINY))


class TestWindowsInAVolume(BackboneContract):
    def make(self):
        more = {"positions": "rotary", "window": (2, 3, 3), "residual": "last", "groups": 1}
        return ViT(1, (2, 4, 4), spatial_dims=3, **more, **TINY)


def stirred(model):
    """Tables and bottlenecks that do something."""
    torch.manual_seed(0)
    for name, value in model.named_parameters():
        if "rel_pos" in name or "tables" in name or "norm3" in name:
            nn.init.normal_(value, std=0.5)
    return model.eval()


def close(x, y, tolerance):
    assert (x - y).abs().max() <= tolerance * y.abs().max()


@pytest.mark.parametrize("registers", [0, 3])
def test_a_vit_is_timms(registers):
    torch.manual_seed(0)
    theirs = timm.create_model(
        "vit_tiny_patch16_224",
        num_classes=0,
        class_token=False,
        global_pool="avg",
        fc_norm=False,
        no_embed_class=True,
        reg_tokens=registers,
        img_size=(48, 80),
        **TINY,
    ).eval()
    ours = ViT(num_registers=registers, **TINY).eval()
    names = {"reg_token": "registers", "patch_embed.proj.": "patch_embed."}
    state = {}
    for key, value in theirs.state_dict().items():
        for theirs_name, ours_name in names.items():
            key = key.replace(theirs_name, ours_name)
        state[key] = value
    del state["pos_embed"]
    if not registers:
        state["registers"] = ours.registers
    ours.load_state_dict(state)
    image = torch.randn(2, 3, 48, 80)
    with torch.no_grad():
        theirs.pos_embed.copy_(sincos_positions((3, 5), 48)[None])
        expected = theirs.forward_features(image)[:, registers:]
        torch.testing.assert_close(ours(image)[0].flatten(2).mT, expected)


def test_a_volume_of_one_layer_is_an_image():
    """Equal weights, a patch of one in z: the same tokens."""
    torch.manual_seed(0)
    plane, volume = ViT(patch=4, **TINY).eval(), ViT(patch=(1, 4, 4), spatial_dims=3, **TINY).eval()
    state = plane.state_dict()
    state["patch_embed.weight"] = state["patch_embed.weight"][:, :, None]
    volume.load_state_dict(state)
    image = torch.randn(1, 3, 8, 12)
    with torch.no_grad():
        flat, deep = (v.patch_embed(x) for v, x in ((plane, image), (volume, image[:, :, None])))
        torch.testing.assert_close(deep[:, :, 0], flat)
        tokens = plane.embed(image)
        as_volume = volume.to_map(volume.run(tokens._replace(grid=(1, 2, 3)), 0, 2))
        torch.testing.assert_close(as_volume[:, :, 0], plane(image)[0])


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
def test_rotary_positions_are_timms(dtype, tolerance):
    torch.manual_seed(0)
    rope = {"use_rot_pos_emb": True, "use_abs_pos_emb": False, "rope_grid_indexing": "ij"}
    theirs = Eva(
        img_size=(48, 80), patch_size=16, num_classes=0, class_token=False, num_reg_tokens=2,
        qkv_fused=True, global_pool="avg", use_fc_norm=False, **rope, **TINY,
    )  # fmt: skip
    ours = ViT(num_registers=2, positions="rotary", **TINY)
    state = theirs.state_dict()
    for key in [k for k in state if k.endswith("q_bias")]:
        q, v = state.pop(key), state.pop(key.replace("q_bias", "v_bias"))
        state[key.replace("q_bias", "qkv.bias")] = torch.cat([q, torch.zeros_like(q), v])
    ours.load_state_dict(ours.translated(state))
    ours, theirs = ours.eval().to(dtype), theirs.eval().to(dtype)
    image = torch.randn(2, 3, 48, 80, dtype=dtype)
    with torch.no_grad():
        close(ours(image)[0].flatten(2).mT, theirs.forward_features(image)[:, 2:], tolerance)


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


def test_a_volume_constant_along_z_gives_the_image(tmp_path):
    """Exactly with learnt positions, when windows divide the grid along z."""
    sizes = {"positions": "absolute", "relative": True, "residual": "all", "grid": 4, **TINY}
    plane = stirred(ViT(patch=8, window=2, **sizes))
    more = {**sizes, "grid": (5, 4, 4), "spatial_dims": 3, "weights": written(plane, tmp_path)}
    assert_slices_agree(plane, ViT(1, (2, 8, 8), window=2, **more), depth=8)


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


@pytest.mark.parametrize("size", ["base", "large", "huge"])
@pytest.mark.parametrize("kind", ["vit", "vitdet"])
def test_named_sizes_have_timms_blocks(size, kind):
    text = (PACKAGED / "model" / "backbone" / f"{kind}_{size}.yaml").read_text()
    with torch.device("meta"):
        ours = build(yaml.safe_load(text))
        theirs = timm.create_model(f"vit_{size}_patch1{4 if size == 'huge' else 6}_224")
    expected = {k: v.shape for k, v in theirs.state_dict().items() if k.startswith("blocks.")}
    found = {k: v.shape for k, v in ours.state_dict().items() if k.startswith("blocks.")}
    assert {k: v for k, v in found.items() if "relative" not in k} == expected
    if kind == "vitdet":
        whole = [i for i, window in enumerate(ours.windows) if window is None]
        assert whole == [(i + 1) * ours.depth // 4 - 1 for i in range(4)]


def test_blocks_run_in_pieces_and_under_a_mask():
    vit = ViT(patch=8, num_registers=1, **TINY).eval()
    image = torch.randn(1, 3, 16, 24)
    with torch.no_grad():
        tokens = vit.embed(image)
        torch.testing.assert_close(vit.to_map(vit.run(vit.run(tokens, 0, 1), 1, 2)), vit(image)[0])
        only_self = torch.eye(7, dtype=torch.bool)
        alone = vit.run(tokens, 0, 2, only_self)
        other = tokens._replace(x=torch.cat([tokens.x[:, :6], torch.randn(1, 1, 48)], 1))
        torch.testing.assert_close(vit.run(other, 0, 2, only_self).x[:, :6], alone.x[:, :6])
    assert (tokens.grid, tokens.prefix) == ((2, 3), 1)


def test_what_does_not_fit_says_so():
    vit = ViT(patch=8, **TINY)
    with pytest.raises(ValueError, match=r"of \[16, 20\] pixels, expected a multiple of \[8, 8\]"):
        vit(torch.zeros(1, 3, 16, 20))
    with pytest.raises(ValueError, match="5 heads do not divide 48 channels"):
        ViT(embed_dim=48, num_heads=5)
    with pytest.raises(ValueError, match="expected 1 or 3 values, got 2"):
        ViT(patch=(8, 8), spatial_dims=3)
    with pytest.raises(ValueError, match="2 registers lie on no grid"):
        ViT(num_registers=2, window=2, **TINY)
    with pytest.raises(ValueError, match="at least one group of blocks, got 0"):
        ViT(groups=0, **TINY)
    windows = ViT(patch=8, window=1, **{**TINY, "depth": 5})
    tokens = windows.embed(torch.zeros(1, 3, 8, 16))
    with pytest.raises(ValueError, match="blocks with windows take no attention mask"):
        windows.run(tokens, 0, 5, torch.eye(2, dtype=torch.bool))
    keep = torch.tensor([[[True, False]], [[True, True]]])
    with pytest.raises(ValueError, match=r"equally many units of each image, got \[1, 2\]"):
        vit(torch.zeros(2, 3, 8, 16), keep=keep)


def test_drop_path_grows_with_depth():
    vit = ViT(embed_dim=48, depth=3, num_heads=4, drop_path=0.2)
    assert [b.drop_path.drop_prob for b in vit.blocks] == [0.0, 0.1, 0.2]
