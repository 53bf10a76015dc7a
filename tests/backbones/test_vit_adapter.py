"""ViT-Adapter around timm's transformers and our own, in two and three dimensions."""

import json
from math import prod

import pytest
import timm
import torch
from torch import nn

from microtome.backbones import Tokens
from microtome.backbones.interaction import ConvFFN, to_maps, to_sequence
from microtome.backbones.pretrained import PretrainedViT
from microtome.backbones.spatial_prior import SpatialPrior
from microtome.backbones.tokens import on_grid
from microtome.backbones.vit import ViT
from microtome.backbones.vit_adapter import ViTAdapter
from microtome.testing import BackboneContract

SMALL = {"interactions": 2, "num_heads": 4, "prior_width": 8}
TINY = {"depth": 2, "embed_dim": 48, "num_heads": 4}


def timms(name, **options):
    return PretrainedViT(name, options={"depth": 2, **options})


def ours(spatial_dims=2, **given):
    return ViT(**{**TINY, "patch": 8, "spatial_dims": spatial_dims, "num_registers": 1, **given})


class TestAroundPatch16(BackboneContract):
    def make(self):
        return ViTAdapter(timms("vit_tiny_patch16_224", embed_dim=48), **SMALL)


class TestAroundPatch14WithRegisters(BackboneContract):
    def make(self):
        small = {"embed_dim": 48, "num_heads": 4}
        return ViTAdapter(timms("vit_small_patch14_reg4_dinov2", **small), **SMALL)


class TestAroundRotaryPositions(BackboneContract):
    def make(self):
        return ViTAdapter(timms("eva02_tiny_patch14_224", embed_dim=48, num_heads=3), **SMALL)


class TestAroundOurs(BackboneContract):
    def make(self):
        return ViTAdapter(ours(), **SMALL, norm="batch")


class TestAroundOursInThreeDimensions(BackboneContract):
    def make(self):
        return ViTAdapter(ours(3, patch=(4, 8, 8), in_channels=1), **SMALL)


@pytest.mark.parametrize(
    "name, strides",
    [
        ("vit_tiny_patch16_224", [4.0, 8.0, 16.0, 32.0]),
        ("eva02_tiny_patch14_224", [3.5, 7.0, 14.0, 28.0]),
    ],
)
def test_strides_follow_the_patch(name, strides):
    spec = ViTAdapter(timms(name), interactions=1).spec
    assert [s for s, _ in spec.strides] == strides
    assert spec.multiple == (2 * int(strides[2]),) * 2


def test_interactions_share_all_blocks():
    adapter = ViTAdapter(ours(depth=7), interactions=3, num_heads=4, prior_width=8)
    assert adapter.cuts == [0, 2, 5, 7]
    ran = []
    named = {"block": adapter.vit.blocks, "in": adapter.injectors, "out": adapter.extractors}
    for name, parts in named.items():
        for index, part in enumerate(parts):
            part.register_forward_hook(lambda *_, say=f"{name} {index}": ran.append(say))
    adapter(torch.randn(1, 3, 16, 16))
    first, second = ["in 0", "block 0", "block 1", "out 0"], ["in 1", "block 2", "block 3"]
    third = ["in 2", "block 5", "block 6", "out 2", "out 3", "out 4"]
    assert ran == [*first, *second, "block 4", "out 1", *third]
    with pytest.raises(ValueError, match="8 interactions do not fit into 7 blocks"):
        ViTAdapter(ours(depth=7), interactions=8, num_heads=4)


def test_at_first_the_transformer_is_as_it_was():
    """Its gates begin at zero: pretrained features are undisturbed; later they are not."""
    torch.manual_seed(0)
    adapter = ViTAdapter(timms("vit_tiny_patch16_224"), **SMALL).eval()
    image, seen = torch.randn(1, 3, 64, 96), []
    with torch.no_grad():
        adapter.vit.vit.norm.register_forward_hook(lambda _, __, y: seen.append(y))
        adapter(image)
        adapter.vit(image)
        nn.init.ones_(adapter.injectors[0].gamma)
        adapter(image)
    torch.testing.assert_close(seen[0], seen[1])
    assert not seen[2].allclose(seen[1], atol=0.01)


@pytest.mark.parametrize("norm, kind", [("group", nn.GroupNorm), ("batch", nn.BatchNorm2d)])
def test_the_norm_is_an_argument(norm, kind):
    adapter = ViTAdapter(ours(), **SMALL, norm=norm)
    kinds = {type(m) for m in adapter.modules() if isinstance(m, nn.GroupNorm | nn.BatchNorm2d)}
    assert kinds == {kind}
    if norm == "batch":  # what Lightning's sync_batchnorm does
        joined = nn.SyncBatchNorm.convert_sync_batchnorm(adapter)
        assert not any(isinstance(m, nn.BatchNorm2d) for m in joined.modules())


def test_normalisation_and_origin_are_the_transformers():
    vit = timms("vit_tiny_patch16_224")
    adapter = ViTAdapter(vit, **SMALL)
    assert adapter.normalisation == vit.normalisation and adapter.origin == vit.origin


@pytest.mark.parametrize("patch, shape", [(16, 8), (14, 7), (8, 16), (4, 32), (32, 8)])
def test_the_stem_halves_to_about_a_quarter_patch(patch, shape):
    prior = SpatialPrior(3, 8, (patch,) * 2, width=8)
    assert prior.stem(torch.zeros(1, 3, *[32 if patch != 14 else 28] * 2)).shape[2] == shape
    assert [m.shape[2] for m in prior(torch.zeros(1, 3, 64, 64), [(9, 9), (5, 5), (3, 3), (1, 1)])]


def test_fine_detail_stays_where_it_is():
    """A change of one pixel changes the finest level most around that pixel."""
    torch.manual_seed(0)
    adapter = ViTAdapter(ours(3, patch=8), **SMALL).eval()
    image = torch.zeros(1, 3, 16, 32, 48)
    other = image.clone()
    other[..., 9, 25, 37] = 5
    with torch.no_grad():
        change = (adapter(other)[0] - adapter(image)[0]).abs().sum(1)[0]  # stride 2
    at = torch.tensor(torch.unravel_index(change.argmax(), change.shape))
    assert (at - torch.tensor([4, 12, 18])).abs().max() <= 2, at


def looking_straight(dims):
    """An adapter whose samples lie exactly at their references, and whose blocks do nothing."""
    adapter = ViTAdapter(ours(dims), interactions=1, num_heads=4, prior_width=8).eval()
    for part in [*adapter.injectors, *adapter.extractors]:
        nn.init.zeros_(part.attention.sampling_offsets.bias)
    nn.init.ones_(adapter.injectors[0].gamma)
    adapter.vit.run = lambda tokens, start, stop: tokens
    return adapter


@pytest.mark.parametrize("dims", [2, 3])
def test_tokens_and_levels_look_where_they_are(dims):
    """A token is seen by the cells over it, a cell of a level by the token under it."""
    torch.manual_seed(dims)
    adapter, grid = looking_straight(dims), (2, 4, 6)[-dims:]
    shapes = [tuple(2 * s for s in grid), grid, tuple(s // 2 for s in grid)]
    tokens = Tokens(torch.randn(1, 1 + prod(grid), 48), grid, prefix=1)
    levels = [torch.randn(1, 48, *s) for s in shapes]

    def after(tokens, levels):
        with torch.no_grad():
            seen, pyramid = adapter._interact(tokens, to_sequence(levels), shapes)
        return on_grid(seen), to_maps(pyramid, shapes)

    def strongest(x, y):
        change = (x - y).abs().sum(1)[0]
        return [int(i) for i in torch.unravel_index(change.argmax(), change.shape)]

    at = (1, 2, 4)[-dims:]
    x = tokens.x.clone()
    x[:, 1 + int(torch.arange(prod(grid)).view(grid)[at])] += torch.randn(48)
    before, others = after(tokens, levels), after(tokens._replace(x=x), levels)
    assert strongest(others[1][1], before[1][1]) == list(at)
    level = [m.clone() for m in levels]
    level[1][(0, slice(None), *at)] += 5 * torch.randn(48)
    assert strongest(after(tokens, level)[0], before[0]) == list(at)


@pytest.mark.parametrize("shapes", [[(4, 6), (1, 3)], [(2, 3, 4), (1, 2, 5), (1, 1, 1)], [(7,)]])
def test_sequences_are_maps(shapes):
    maps = [torch.randn(2, 3, *s) for s in shapes]
    sequence = to_sequence(maps)
    assert sequence.shape == (2, sum(prod(s) for s in shapes), 3)
    for x, y in zip(maps, to_maps(sequence, shapes), strict=True):
        assert x.equal(y)


def test_the_network_of_an_extractor_keeps_levels_apart():
    """Its convolution knows true shapes: a change at one level never reaches another."""
    shapes = [(3, 5), (2, 7)]
    ffn, x = ConvFFN(8, 4, 2), torch.randn(1, 29, 8)
    other = x.clone()
    other[:, 14] += 1  # the last corner of the first level
    changed = (ffn(other, shapes) - ffn(x, shapes)).abs().sum(2)[0].nonzero().flatten().tolist()
    assert changed == [8, 9, 13, 14]


def test_a_blueprint_holds_the_transformer():
    adapter = ViTAdapter(ours(), **SMALL)
    written = json.loads(json.dumps(adapter.blueprint))["init_args"]
    assert written["vit"]["class_path"] == "microtome.backbones.vit.ViT"
    assert written["vit"]["init_args"]["patch"] == 8


def test_bfloat16_runs():
    adapter = ViTAdapter(ours(), **SMALL)
    with torch.autocast("cpu", torch.bfloat16):
        maps = adapter(torch.randn(2, 3, 32, 48))
    assert all(x.isfinite().all() for x in maps)
    sum(x.float().sum() for x in maps).backward()
    assert adapter.injectors[0].gamma.grad.isfinite().all()


def test_timm_knows_what_the_parameters_are_called():
    """Our blocks take timm's weights by name."""
    theirs = timm.create_model("vit_tiny_patch16_224", depth=2).blocks.state_dict()
    assert theirs.keys() == ours().blocks.state_dict().keys()
