"""Which parameters decay, at which rate they learn, and what the log says of it."""

import pytest
import torch
from torch import nn

from microtome.backbones.pretrained import PretrainedViT
from microtome.backbones.vit import ViT
from microtome.backbones.vit_adapter import ViTAdapter
from microtome.heads.mask2former import Mask2Former
from microtome.models import Segmenter
from microtome.structures import Classes
from microtome.training.groups import parameter_groups
from microtome.training.optimisers import build_optimizer, in_words

CLASSES = Classes(["background", "cell"])
SMALL = {"embed_dim": 24, "depth": 3, "num_heads": 2}


def factors(model, **options):
    """The factor of each parameter by name."""
    names = {p: name for name, p in model.named_parameters()}
    groups = parameter_groups(model, **options)
    return {names[p]: group["lr_factor"] for group in groups for p in group["params"]}


def decaying(model):
    names = {p: name for name, p in model.named_parameters()}
    return {
        names[p] for g in parameter_groups(model) if "weight_decay" not in g for p in g["params"]
    }


def test_only_weights_of_layers_decay():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.GroupNorm(2, 8), nn.Linear(8, 4))
    model.append(nn.Embedding(5, 4)).append(nn.MultiheadAttention(4, 2))
    model.register_parameter("positions", nn.Parameter(torch.zeros(1, 6, 8)))
    assert decaying(model) == {
        "0.weight",
        "2.weight",
        "4.in_proj_weight",
        "4.out_proj.weight",
    }


def small_vit(kind):
    if kind is ViT:
        return ViT(patch=8, num_registers=2, **SMALL)
    options = {"img_size": 32, **SMALL, "reg_tokens": 2}
    return PretrainedViT("vit_tiny_patch16_224", options=options)


@pytest.mark.parametrize("kind", [ViT, PretrainedViT])
def test_queries_positions_and_levels_do_not_decay(kind):
    def head(spec, classes):
        return Mask2Former(
            spec, classes, num_queries=5, hidden=24, encoder_layers=1, decoder_layers=2, num_heads=2
        )

    model = Segmenter(ViTAdapter(small_vit(kind), 3, 2, prior_width=8), head, CLASSES)
    decay = decaying(model)
    tables = ("queries", "places", "level_embed", "pos_embed", "cls_token", "reg_token")
    words = (*tables, "registers", "norm", "bias", "gamma")
    tabled = [n for n, _ in model.named_parameters() if any(w in n.split(".")[-1] for w in words)]
    assert any("queries" in name for name in tabled)
    assert not decay & set(tabled)
    assert "head.decoder.queries" not in decay
    for name, p in model.named_parameters():
        matrix = name.endswith("weight") and p.ndim > 1
        assert (name in decay) == matrix, name


@pytest.mark.parametrize("kind", [ViT, PretrainedViT])
@pytest.mark.parametrize("adapted", [False, True])
def test_rates_decay_from_layer_to_layer(kind, adapted):
    vit = small_vit(kind)
    backbone = ViTAdapter(vit, 3, 2, prior_width=8) if adapted else vit
    model = Segmenter(backbone, dense, CLASSES)
    found = factors(model, backbone_lr=0.1, layer_decay=0.5)
    place = ("backbone.vit." if adapted else "backbone.") + (
        "vit." if kind is PretrainedViT else ""
    )
    for layer in range(3):
        assert found[f"{place}blocks.{layer}.attn.qkv.weight"] == pytest.approx(
            0.1 * 0.5 ** (3 - layer)
        )
    assert found[f"{place}norm.weight"] == pytest.approx(0.1)
    first = [
        n for n in found if n.startswith(place + "patch_embed") or "reg" in n or "pos_embed" in n
    ]
    assert len(first) >= 3
    assert all(found[n] == pytest.approx(0.1 * 0.5**4) for n in first)
    new = [n for n in found if not n.startswith(place)]
    assert any("injectors" in n for n in new) == adapted
    assert all(found[n] == 1 for n in new)


def dense(spec, classes):
    from microtome.heads.dense import Dense

    return Dense(spec, classes, channels=8)


def test_another_backbone_learns_as_a_whole():
    model = nn.Module()
    model.backbone, model.head = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 1)
    assert factors(model, backbone_lr=0.1) == {
        "backbone.weight": 0.1,
        "backbone.bias": 0.1,
        "head.weight": 1.0,
        "head.bias": 1.0,
    }
    with pytest.raises(ValueError, match="layer_decay is for plain vision transformers"):
        parameter_groups(model, layer_decay=0.9)


@pytest.mark.parametrize("options", [{"backbone_lr": 0}, {"layer_decay": 0}, {"layer_decay": 1.1}])
def test_factors_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match="expected backbone_lr > 0 and layer_decay"):
        parameter_groups(nn.Linear(2, 2), **options)


def test_a_frozen_model_is_refused():
    with pytest.raises(ValueError, match="nothing to train"):
        parameter_groups(nn.Linear(2, 2).requires_grad_(False))


def test_every_trainable_parameter_is_in_one_group():
    model = Segmenter(small_vit(ViT), dense, CLASSES)
    model.backbone.patch_embed.requires_grad_(False)
    grouped = [p for g in parameter_groups(model, 0.1, 0.8) for p in g["params"]]
    trainable = [p for p in model.parameters() if p.requires_grad]
    assert len(grouped) == len(set(grouped)) == len(trainable)
    assert set(grouped) == set(trainable)


def adamw(groups, **options):
    return torch.optim.AdamW(groups, lr=0.01, weight_decay=0.05, **options)


def two_groups():
    model = nn.Module()
    model.backbone, model.head = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 1)
    return parameter_groups(model, backbone_lr=0.1)


def test_groups_get_their_part_of_the_rate_and_fused_kernels():
    optimizer = build_optimizer(adamw, two_groups())
    seen = [(g["name"], g["lr"], g["weight_decay"], g["fused"]) for g in optimizer.param_groups]
    assert seen == [
        ("backbone x 0.1", pytest.approx(0.001), 0.05, True),
        ("backbone x 0.1, no decay", pytest.approx(0.001), 0.0, True),
        ("head", 0.01, 0.05, True),
        ("head, no decay", 0.01, 0.0, True),
    ]


def test_fused_is_not_forced_on_who_chose_otherwise():
    for choice in ({"fused": False}, {"foreach": True}):
        optimizer = build_optimizer(lambda g, c=choice: adamw(g, **c), two_groups())
        assert not optimizer.param_groups[0]["fused"]
    without = build_optimizer(lambda g: torch.optim.NAdam(g, lr=0.01), two_groups())
    assert "fused" not in without.param_groups[0]


@pytest.mark.parametrize(
    "make",
    [
        adamw,
        lambda g: torch.optim.Adam(g, lr=0.01),
        lambda g: torch.optim.SGD(g, lr=0.01, momentum=0.9, nesterov=True),
    ],
)
def test_fused_steps_are_as_plain_ones(make):
    def trained(fused):
        torch.manual_seed(0)
        layer = nn.Linear(4, 4)
        optimizer = build_optimizer(make, parameter_groups(layer))
        for group in optimizer.param_groups:
            assert group["fused"] is True
            group["fused"] = fused
        for _ in range(5):
            optimizer.zero_grad()
            layer(torch.ones(2, 4)).square().sum().backward()
            optimizer.step()
        return layer.weight.detach()

    torch.testing.assert_close(trained(True), trained(False))


def test_the_log_says_what_learns_how():
    assert in_words(build_optimizer(adamw, two_groups())) == [
        "AdamW, fused, 4 groups",
        "backbone     1 tensors, 0.000 M, rate 1.00e-03, decay 0.05",
        "backbone     1 tensors, 0.000 M, rate 1.00e-03, no decay",
        "head         1 tensors, 0.000 M, rate 1.00e-02, decay 0.05",
        "head         1 tensors, 0.000 M, rate 1.00e-02, no decay",
    ]
    model = Segmenter(small_vit(ViT), dense, CLASSES)
    lines = in_words(build_optimizer(adamw, parameter_groups(model, 0.1, 0.5)))
    assert len(lines) == 5
    assert any("rate 6.25e-05 to 5.00e-04, decay 0.05" in line for line in lines)
