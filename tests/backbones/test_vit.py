"""Our own vision transformer: timm's where timm has one, the same in any number of dimensions."""

import pytest
import timm
import torch
import yaml
from small_vits import TINY, close, stirred
from timm.models.eva import Eva

from microtome.backbones.vit import ViT
from microtome.blueprint import build
from microtome.cli.compose import PACKAGED
from microtome.layers import sincos_positions
from microtome.testing import BackboneContract
from published_weights import assert_slices_agree, written


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


def test_a_volume_constant_along_z_gives_the_image(tmp_path):
    """Exactly with learnt positions, when windows divide the grid along z."""
    sizes = {"positions": "absolute", "relative": True, "residual": "all", "grid": 4, **TINY}
    plane = stirred(ViT(patch=8, window=2, **sizes))
    more = {**sizes, "grid": (5, 4, 4), "spatial_dims": 3, "weights": written(plane, tmp_path)}
    assert_slices_agree(plane, ViT(1, (2, 8, 8), window=2, **more), depth=8)


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
