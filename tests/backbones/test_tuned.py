"""Fine-tuning: what is trained is what was asked for, and merging changes nothing but its form."""

import json

import pytest
import torch
from torch import nn

from microtome.backbones.foundation import FoundationViT
from microtome.backbones.low_rank import LowRank
from microtome.backbones.pretrained import PretrainedViT
from microtome.backbones.tuned import Tuned
from microtome.backbones.vit import ViT
from microtome.backbones.vit_adapter import ViTAdapter
from microtome.blueprint import build
from microtome.testing import BackboneContract

SMALL = {"depth": 2, "embed_dim": 48, "num_heads": 4}


def small(name="kaiko_vits16"):
    return FoundationViT(name, options=SMALL)


class TestLoRA(BackboneContract):
    def make(self):
        return stirred(Tuned(small(), low_rank=LowRank(4)))


class TestDoRAOfAVolume(BackboneContract):
    def make(self):
        vit = ViT(1, (2, 4, 4), 48, 2, 4, spatial_dims=3)
        return stirred(Tuned(vit, "dora", low_rank=LowRank(2)))


class TestTheLastBlocks(BackboneContract):
    def make(self):
        return Tuned(small(), "partial", blocks=1)


class TestAnAdapterAroundLoRA(BackboneContract):
    def make(self):
        return ViTAdapter(Tuned(small()), 1, 4, 8, extra_extractors=0)


def stirred(tuned):
    """Thin matrices that do something; they begin as nothing."""
    torch.manual_seed(0)
    for name, value in tuned.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(value, std=0.5)
    return tuned


def trained(part):
    return {name: p.numel() for name, p in part.named_parameters() if p.requires_grad}


def test_each_mode_trains_what_it_says():
    block = 12 * 48**2 + 13 * 48  # qkv, proj, fc1, fc2 with biases, two norms
    thin = 4 * (48 + 144 + 48 + 48 + 2 * (48 + 192))  # rank x (inputs + outputs) of four layers
    lengths = 144 + 48 + 192 + 48
    sizes = {"low_rank": LowRank(4)}
    full = sum(trained(Tuned(small(), "full")).values())
    assert full == sum(p.numel() for p in small().parameters())
    assert trained(Tuned(small(), "frozen")) == {}
    assert sum(trained(Tuned(small(), "partial", blocks=1)).values()) == block + 96
    assert sum(trained(Tuned(small(), "lora", **sizes)).values()) == 2 * thin
    assert sum(trained(Tuned(small(), "dora", **sizes)).values()) == 2 * (thin + lengths)


@pytest.mark.parametrize(
    "make",
    [
        *(lambda n=n: small(n) for n in ("phikon", "phikon_v2", "midnight", "hibou_l", "musk")),
        lambda: small("pathorchestra"),
        lambda: small("genbio_pathfm"),
        lambda: PretrainedViT("vit_small_patch16_dinov3_qkvb", options=SMALL),
        lambda: ViT(**SMALL),
    ],
)
def test_thin_matrices_reach_every_family_and_change_the_output(make):
    """The source trained only its head, without a word, on all that transformers hosts."""
    torch.manual_seed(0)
    tuned = Tuned(make(), low_rank=LowRank(2)).eval().double()
    layers = {name.partition(".lora_")[0] for name in trained(tuned)}
    assert len(layers) >= 8, layers
    image = torch.randn(1, 3, *[2 * m for m in tuned.spec.multiple]).double()
    with torch.no_grad():
        (before,) = tuned(image)
        for name in sorted(layers):
            nn.init.normal_(tuned.get_submodule(name).lora_B["default"].weight)
            (after,) = tuned(image)
            assert (after - before).abs().max() > 1e-9, f"{name} is not used"
            before = after


@pytest.mark.parametrize("mode", ["lora", "dora"])
def test_matrices_begin_as_nothing_and_merge_into_the_same(mode):
    torch.manual_seed(0)
    vit = small().eval()
    image = torch.randn(2, 3, 32, 48)
    with torch.no_grad():
        (plain,) = vit(image)
        names = list(vit.state_dict())
        tuned = Tuned(vit, mode, low_rank=LowRank(4)).eval()
        torch.testing.assert_close(tuned(image)[0], plain)
        (changed,) = stirred(tuned)(image)
        assert (changed - plain).abs().max() > 0.1
        around = ViTAdapter(tuned, 1, 4, 8)
        tuned.merge()
        torch.testing.assert_close(tuned(image)[0], changed, rtol=1e-4, atol=1e-5)
        assert list(vit.state_dict()) == names and tuned.named_weights is None
        twin = build(json.loads(json.dumps(around.blueprint)))
        twin.load_state_dict(around.state_dict())
        torch.testing.assert_close(twin.vit(image)[0], tuned(image)[0])


def test_alpha_counts_by_rank_or_plainly():
    def weight(**sizes):
        layer = Tuned(small(), low_rank=LowRank(**sizes)).vit.vit.blocks[0].attn.qkv
        return layer.scaling["default"]

    assert weight(rank=8, alpha=4) == 0.5 and weight(rank=8, alpha=4, scale="alpha") == 4


def test_frozen_maps_hold_nothing_for_a_backward_pass():
    tuned = Tuned(small(), "frozen").train()
    (x,) = tuned(torch.randn(1, 3, 32, 32, requires_grad=True))
    assert not x.requires_grad and tuned.training and not tuned.vit.training


def test_adapters_learn_through_a_frozen_transformer():
    adapter = ViTAdapter(Tuned(small(), "frozen"), 2, 4, 8).train()
    sum(x.square().sum() for x in adapter(torch.randn(1, 3, 32, 32))).backward()
    assert all(p.grad is not None for p in adapter.injectors[0].parameters())


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Tuned(small(), "none"), "mode: expected one of .*got 'none'"),
        (lambda: Tuned(small(), "partial", blocks=3), "blocks: expected 1 to 2, got 3"),
        *(
            (
                lambda mode=mode: Tuned(FoundationViT("uni", options=SMALL, freeze=True), mode, 1),
                f"mode: {mode} trains what `vit` holds fixed: leave out its `freeze`",
            )
            for mode in ("full", "partial")
        ),
        (lambda: Tuned(small(), low_rank=LowRank(0)), "rank 0.*expected a rank of at least 1"),
        (
            lambda: Tuned(small(), low_rank=LowRank(targets="query")),
            r"targets 'query': expected .*of the 8 linear layers, such as vit\.blocks\.0\.attn",
        ),
    ],
)
def test_what_would_train_nothing_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
