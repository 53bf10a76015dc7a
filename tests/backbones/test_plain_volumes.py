"""Families in a volume beside plain sums of PyTorch's own functions, with equal weights.

ResNet has MONAI as its peer there, and Hiera timm's, which knows three axes; see their own tests.
"""

from itertools import product
from math import prod

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from microtome.backbones.convnext import ConvNeXt
from microtome.backbones.internimage import InternImage
from microtome.backbones.vit import ViT


def filled(model):
    """Every parameter does something: gates, tables, norms and taps too."""
    random = torch.Generator().manual_seed(0)
    for value in model.parameters():
        nn.init.normal_(value, std=0.3, generator=random)
    return model.double().eval()


def volume(*shape):
    random = torch.Generator().manual_seed(1)
    return torch.randn(2, 1, *shape, dtype=torch.float64, generator=random)


def assert_same(ours, plain, tolerance=1e-9):
    with torch.no_grad():
        for x, y in zip(ours, plain, strict=True):
            assert y.std() > 1e-3, "nothing left to compare"
            assert (x - y).abs().max() <= tolerance * y.abs().max()


def channel_norm(x, weights, name, axis):
    """(x - mean) / deviation over one axis, scaled and shifted."""
    mean, spread = x.mean(axis, keepdim=True), x.var(axis, unbiased=False, keepdim=True)
    shape = [-1 if a == axis % x.ndim else 1 for a in range(x.ndim)]
    scale, shift = weights[f"{name}.weight"].view(shape), weights[f"{name}.bias"].view(shape)
    return (x - mean) / (spread + 1e-6).sqrt() * scale + shift


def linear(x, weights, name):
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def network(x, weights, name):
    """Two layers, channels last."""
    return linear(F.gelu(linear(x, weights, f"{name}.fc1")), weights, f"{name}.fc2")


def convolution(x, weights, name, **more):
    return F.conv3d(x, weights[f"{name}.weight"], weights.get(f"{name}.bias"), **more)


# -- ConvNeXt V2


def plain_convnext(image, weights, depths, strides, padding):
    x = convolution(image, weights, "stem.0", stride=strides[0])
    x, maps = channel_norm(x, weights, "stem.1", 1), []
    for level, depth in enumerate(depths):
        stage = f"stages.{level}"
        if level:
            x = channel_norm(x, weights, f"{stage}.downsample.0", 1)
            x = convolution(x, weights, f"{stage}.downsample.1", stride=strides[level])
        for i in range(depth):
            x = x + plain_convnext_block(x, weights, f"{stage}.blocks.{i}", padding)
        maps.append(x)
    return maps


def plain_convnext_block(x, weights, name, padding):
    """As 1x1x1 convolutions, channels first."""
    x = convolution(x, weights, f"{name}.conv_dw", padding=padding, groups=x.shape[1])
    x = channel_norm(x, weights, f"{name}.norm", 1)
    x = F.gelu(F.conv3d(x, *pointwise(weights, f"{name}.mlp.fc1")))
    energy = x.square().sum((2, 3, 4), keepdim=True).sqrt()
    share = energy / (energy.mean(1, keepdim=True) + 1e-6)
    gamma, beta = (weights[f"{name}.mlp.grn.{k}"].view(1, -1, 1, 1, 1) for k in ("weight", "bias"))
    return F.conv3d(gamma * x * share + beta + x, *pointwise(weights, f"{name}.mlp.fc2"))


def pointwise(weights, name):
    return weights[f"{name}.weight"][:, :, None, None, None], weights[f"{name}.bias"]


@pytest.mark.parametrize(
    "kernel, strides",
    [(7, ((4, 4, 4), (2, 2, 2))), ((1, 7, 5), ((1, 4, 4), (2, 2, 2)))],
    ids=["cubes", "thick slices"],
)
def test_convnext_is_the_plain_composition(kernel, strides):
    ours = filled(ConvNeXt((1, 2), (6, 8), 1, kernel, strides, spatial_dims=3))
    image = volume(8, 16, 24)
    padding = [(k - 1) // 2 for k in ([kernel] * 3 if isinstance(kernel, int) else kernel)]
    assert_same(ours(image), plain_convnext(image, ours.state_dict(), (1, 2), strides, padding))


# -- ViT and ViTDet


def plain_attention(x, grid, weights, name, heads, angles=None, relative=False):
    """One head and one pair of tokens' distance at a time: [N, C] -> [N, C]."""
    query, key, value = linear(x, weights, f"{name}.qkv").chunk(3, -1)
    out = []
    for q, k, v in zip(*(t.chunk(heads, -1) for t in (query, key, value)), strict=True):
        if angles is not None:
            turned = (torch.view_as_complex(t.unflatten(-1, (-1, 2)).contiguous()) for t in (q, k))
            q, k = (torch.view_as_real(t * torch.polar(torch.ones_like(angles), angles)).flatten(-2)
                    for t in turned)  # fmt: skip
        logits = q @ k.T / q.shape[-1] ** 0.5
        if relative:
            logits = logits + plain_relative(q, grid, weights, name)
        out.append(logits.softmax(-1) @ v)
    return linear(torch.cat(out, -1), weights, f"{name}.proj")


def plain_relative(query, grid, weights, name):
    """What each query says to the distance of each key, axis by axis."""
    places = list(product(*map(range, grid)))
    added = torch.zeros(len(places), len(places), dtype=query.dtype)
    for i, here in enumerate(places):
        for j, there in enumerate(places):
            for axis, size in enumerate(grid):
                table = weights[f"{name}.relative.tables.{axis}"]
                added[i, j] += query[i] @ table[here[axis] - there[axis] + size - 1]
    return added


def plain_angles(grid, channels):
    """The number of the cell along each axis, at frequencies from 1 down."""
    share = channels // (2 * len(grid))
    angles = torch.zeros(prod(grid), channels // 2, dtype=torch.float64)
    for n, place in enumerate(product(*map(range, grid))):
        for axis, number in enumerate(place):
            for f in range(share):
                angles[n, axis * share + f] = number * 10_000 ** (-f / share)
    return angles


def plain_windows(x, grid, window, attend):
    """[N, C] of a grid, a window at a time; cells beyond the border are zeros."""
    x = x.unflatten(0, grid)
    out = torch.zeros_like(x)
    for corner in product(*(range(0, g, w) for g, w in zip(grid, window, strict=True))):
        inside = tuple(slice(c, c + w) for c, w in zip(corner, window, strict=True))
        tokens = torch.zeros(*window, x.shape[-1], dtype=x.dtype)
        here = tuple(slice(0, n) for n in x[inside].shape[:-1])
        tokens[here] = x[inside]
        out[inside] = attend(tokens.flatten(0, 2)).unflatten(0, window)[here]
    return out.flatten(0, 2)


def plain_bottleneck(x, grid, weights, name):
    y = x.T.unflatten(1, grid)[None]
    for i, padding in ((1, 0), (2, 1), (3, 0)):
        y = convolution(y, weights, f"{name}.conv{i}", padding=padding)
        y = channel_norm(y, weights, f"{name}.norm{i}", 1)
        y = F.gelu(y) if i < 3 else y
    return x + y[0].flatten(1).T


def plain_vit(image, vit, rotary, relative):
    """One image [1, *S] -> its tokens [N, C] after the last norm."""
    weights = vit.state_dict()
    x = convolution(image[None], weights, "patch_embed", stride=vit.spec.multiple)[0]
    grid = tuple(x.shape[1:])
    x = x if rotary else x + weights["pos_embed"][0]
    x = torch.cat([weights["registers"][0], x.flatten(1).T])
    for i, window in enumerate(vit.windows):
        name, seen = f"blocks.{i}", window or grid
        angles = plain_angles(seen, x.shape[1] // vit.num_heads) if rotary else None

        def attend(tokens, name=name, seen=seen, angles=angles):
            heads = vit.num_heads
            return plain_attention(tokens, seen, weights, f"{name}.attn", heads, angles, relative)

        y = channel_norm(x, weights, f"{name}.norm1", -1)
        x = x + (plain_windows(y, grid, window, attend) if window else attend(y))
        x = x + network(channel_norm(x, weights, f"{name}.norm2", -1), weights, f"{name}.mlp")
        if f"residuals.{i}.conv1.weight" in weights:
            x = plain_bottleneck(x, grid, weights, f"residuals.{i}")
    return channel_norm(x[vit.registers.shape[1] :], weights, "norm", -1).T.unflatten(1, grid)


@pytest.mark.parametrize(
    "options",
    [
        {"positions": "absolute", "num_registers": 2},
        {"positions": "absolute", "relative": True, "window": (2, 2, 3), "residual": "last"},
        {"positions": "rotary", "window": (1, 2, 2), "residual": "all"},
    ],
    ids=["everything sees everything", "windows, relative", "windows, rotary"],
)
def test_vit_is_the_plain_composition(options):
    """The windows of 2, 2 and 3 do not divide the grid of 2, 3 and 4."""
    # Rotary angles are float32 in any model, as timm's are.
    sizes = {"embed_dim": 24, "depth": 2, "num_heads": 2, "groups": 1, "grid": (2, 3, 4)}
    ours = filled(ViT(1, (1, 2, 2), spatial_dims=3, **sizes, **options))
    image = volume(2, 6, 8)
    rotary, relative = options["positions"] == "rotary", options.get("relative", False)
    plain = torch.stack([plain_vit(one, ours, rotary, relative) for one in image])
    assert_same(ours(image), [plain], 1e-7 if rotary else 1e-9)


# -- InternImage


def plain_deformable(x, weights, name, groups, kernel, scale):
    """[B, *S, C] -> the same: each tap of each group is a sampled volume of its own."""
    seen = convolution(
        x.movedim(-1, 1),
        weights,
        f"{name}.dw_conv.0",
        padding=[k // 2 for k in kernel],
        groups=x.shape[-1],
    )
    seen = F.gelu(channel_norm(seen, weights, f"{name}.dw_conv.1", 1)).movedim(1, -1)
    shape, taps = x.shape[1:-1], list(product(*(range(-(k // 2), k // 2 + 1) for k in kernel)))
    moved = linear(seen, weights, f"{name}.offsets").unflatten(-1, (groups, len(taps), 3))
    share = linear(seen, weights, f"{name}.modulation").unflatten(-1, (groups, len(taps)))
    share, value = share.softmax(-1), linear(x, weights, f"{name}.input_proj")
    axes = torch.meshgrid(*(torch.arange(n, dtype=x.dtype) for n in shape), indexing="ij")
    own, size, summed = torch.stack(axes, -1), torch.tensor(shape, dtype=x.dtype), []
    for group, channels in enumerate(value.chunk(groups, -1)):
        total = 0
        for i, tap in enumerate(taps):
            place = own + scale * (torch.tensor(tap, dtype=x.dtype) + moved[..., group, i, :])
            unit = ((2 * place + 1) / size - 1).flip(-1)  # grid_sample's -1 to 1, x first
            found = F.grid_sample(channels.movedim(-1, 1), unit, align_corners=False)
            total = total + share[..., group, i, None] * found.movedim(1, -1)
        summed.append(total)
    return linear(torch.cat(summed, -1), weights, f"{name}.output_proj")


def plain_internimage(image, weights, depths, strides, **core):
    x = convolution(image, weights, "patch_embed.conv1", stride=strides[0], padding=1)
    x = F.gelu(channel_norm(x, weights, "patch_embed.norm1", 1))
    x = convolution(x, weights, "patch_embed.conv2", stride=strides[1], padding=1)
    x, maps, groups = channel_norm(x, weights, "patch_embed.norm2", 1), [], core.pop("groups")
    for level, depth in enumerate(depths):
        name = f"levels.{level}"
        if level:
            step = strides[level + 1]
            x = convolution(x, weights, f"{name}.downsample.conv", stride=step, padding=1)
            x = channel_norm(x, weights, f"{name}.downsample.norm", 1)
        x = x.movedim(1, -1)
        for i in range(depth):
            block, own = f"{name}.blocks.{i}", {**core, "groups": groups * 2**level}
            y = channel_norm(x, weights, f"{block}.norm1", -1)
            x = x + weights[f"{block}.gamma1"] * plain_deformable(y, weights, f"{block}.dcn", **own)
            y = channel_norm(x, weights, f"{block}.norm2", -1)
            x = x + weights[f"{block}.gamma2"] * network(y, weights, f"{block}.mlp")
        x = channel_norm(x.movedim(-1, 1), weights, f"{name}.norm", 1)
        maps.append(x)
    return maps


@pytest.mark.parametrize("kernel, scale", [((3, 3, 3), 1), ((1, 3, 3), 2)])
def test_internimage_is_the_plain_composition(kernel, scale):
    strides = ((1, 2, 2), (2, 2, 2), (1, 2, 2))
    more = {"kernel": kernel, "scale": scale, "strides": strides, "spatial_dims": 3}
    ours = filled(InternImage((1, 2), 8, 2, 1, **more))
    image = volume(4, 16, 24)
    core = {"groups": 2, "kernel": kernel, "scale": scale}
    assert_same(ours(image), plain_internimage(image, ours.state_dict(), (1, 2), strides, **core))
