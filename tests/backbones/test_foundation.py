"""Foundation models by name: sizes as published, layouts read strictly, honest refusals."""

import json
import socket

import pytest
import torch
from huggingface_hub import errors
from safetensors.torch import save_file
from transformers import (
    Dinov2Config,
    Dinov2Model,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    ViTConfig,
    ViTModel,
)

from microtome.backbones import Normalisation, foundation
from microtome.backbones.foundation import FoundationViT
from microtome.blueprint import build
from microtome.catalogue import by_file, by_hub_id, entries, find, steps
from microtome.testing import BackboneContract
from published_layouts import PUBLISHED, of_dinov3

SEVERAL = ("kaiko_vits16", "hibou_b", "gigapath_flash")
SMALL = {"depth": 2, "embed_dim": 48, "num_heads": 4}
OF_THE_SOURCE = [
    *("uni_v1", "uni_v2", "conch_v1", "conch_v1_5", "virchow_v1", "virchow_v2"),
    *("phikon", "phikon_v2", "hoptimus_0", "hoptimus_1", "gigapath", "midnight12k"),
    *("kaiko-vitl14", "lunit_vits8", "musk", "patho3dmatrix-vision", "PathOrchestra", "hibou_l"),
]


class TestRegistersAndPackedGates(BackboneContract):
    def make(self):
        return FoundationViT("hibou-B", options=SMALL)


class TestPositionsOfTransformers(BackboneContract):
    def make(self):
        return FoundationViT("midnight", options=SMALL)


class TestPlanes(BackboneContract):
    def make(self):
        return FoundationViT("genbio_pathfm", in_channels=2, options=SMALL)


@pytest.fixture
def quick_start(monkeypatch):
    """Initial values that cost nothing: a giant's first block takes a second otherwise."""
    for module in ("vision_transformer", "eva"):
        monkeypatch.setattr(
            f"timm.models.{module}.trunc_normal_", lambda x, std=0.02: x.data.fill_(std)
        )
    monkeypatch.setattr(torch.nn.init, "kaiming_uniform_", lambda x, **_: x.data.fill_(1e-3))


@pytest.mark.parametrize("name", entries())
def test_every_model_sees_an_oblong_image(name, quick_start):
    entry = entries()[name]
    backbone = FoundationViT(name, options={"depth": 1}, emb_dim=entry.dim, patch=entry.patch)
    with torch.no_grad():
        (x,) = backbone.eval()(torch.zeros(1, 3, 2 * entry.patch, 3 * entry.patch))
    assert x.shape == (1, entry.out_channels, 2, 3) and x.isfinite().all()
    assert backbone.spec.channels == (entry.out_channels,)
    assert backbone.vit.num_prefix_tokens == entry.prefix
    assert backbone.mask_unit == (entry.patch, entry.patch)
    assert backbone.normalisation == Normalisation(entry.mean, entry.std)


def parameters(name):
    with torch.device("meta"):
        return sum(p.numel() for p in FoundationViT(name).parameters())


@pytest.mark.parametrize("name", SEVERAL)
def test_a_model_has_the_published_number_of_parameters(name):
    assert parameters(name) == entries()[name].parameters


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in entries() if n not in SEVERAL])
def test_every_model_has_the_published_number_of_parameters(name):
    assert parameters(name) == entries()[name].parameters


@pytest.mark.parametrize("name", entries())
def test_every_published_layout_is_read(name, tmp_path):
    torch.manual_seed(0)
    theirs = FoundationViT(name, options=SMALL)
    state = {k: torch.randn_like(v) for k, v in theirs.vit.state_dict().items()}
    path = tmp_path / "weights.pth"
    torch.save(PUBLISHED[entries()[name].converter](dict(state)), path)
    ours = FoundationViT(name, str(path), options=SMALL)
    for key, value in ours.vit.state_dict().items():
        torch.testing.assert_close(value, state[key], rtol=1e-5, atol=1e-6)
    assert ours.origin["licence"] == entries()[name].licence


@pytest.mark.parametrize("change", ["more", "less", "another shape"])
def test_a_file_must_fit_in_both_directions(change, tmp_path):
    state = FoundationViT("uni", options=SMALL).vit.state_dict()
    if change == "more":
        state["blocks.2.norm1.weight"] = torch.ones(48)
    elif change == "another shape":
        state["norm.weight"] = torch.ones(50)
    else:
        del state["blocks.1.norm1.weight"]
    torch.save(state, tmp_path / "x.pth")
    told = {
        "more": r"x\.pth: more than .* has; .*1 unused: blocks.2",
        "less": r"x\.pth: not weights of vit_large_patch16_224; .*1 missing: blocks.1.norm1",
        "another shape": r"x\.pth: not .*1 mismatched: norm.weight \[50\] for \[48\]",
    }
    with pytest.raises(ValueError, match=told[change]):
        FoundationViT("uni", str(tmp_path / "x.pth"), options=SMALL)


def test_biases_that_would_be_lost_are_refused(tmp_path):
    state = of_dinov3(FoundationViT("genbio-pathfm", options=SMALL).vit.state_dict())
    state["blocks.0.attn.qkv.bias"][3] = 1
    torch.save(state, tmp_path / "x.pth")
    with pytest.raises(ValueError, match=r"qkv\.bias: not all zero"):
        FoundationViT("genbio-pathfm", str(tmp_path / "x.pth"), options=SMALL)


TINY = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
HOSTED = {
    "phikon": lambda: ViTModel(
        ViTConfig(**TINY, intermediate_size=192, image_size=224, layer_norm_eps=1e-12)
    ),
    "phikon_v2": lambda: Dinov2Model(Dinov2Config(**TINY, image_size=224, patch_size=16)),
    "midnight12k": lambda: Dinov2Model(
        Dinov2Config(**TINY, image_size=518, patch_size=14, use_swiglu_ffn=True)
    ),
    "hibou_b": lambda: Dinov2WithRegistersModel(
        Dinov2WithRegistersConfig(**TINY, image_size=224, patch_size=14, use_swiglu_ffn=True)
    ),
    "hibou_l": lambda: Dinov2WithRegistersModel(
        Dinov2WithRegistersConfig(**TINY, image_size=224, patch_size=14, use_swiglu_ffn=True)
    ),
}


@pytest.mark.parametrize("name", HOSTED)
def test_tokens_are_those_of_transformers_at_any_size(name, tmp_path):
    torch.manual_seed(0)
    theirs = HOSTED[name]().eval()
    for value in theirs.parameters():
        torch.nn.init.normal_(value, std=0.2)
    path = tmp_path / "model.safetensors"
    save_file({k: v.contiguous() for k, v in theirs.state_dict().items()}, path)
    ratio = {"mlp_ratio": 5.33334} if "hibou" in name else {}
    ours = FoundationViT(name, str(path), options={**SMALL, **ratio}).eval()
    entry = entries()[name]
    more = {"interpolate_pos_encoding": True} if name == "phikon" else {}
    native = ours.vit.patch_embed.grid_size[0]
    for grid in ((native, native), (5, 9), (native + 3, native - 2)):
        image = torch.randn(1, 3, *[n * entry.patch for n in grid])
        with torch.no_grad():
            (x,) = ours(image)
            tokens = theirs(image, **more).last_hidden_state[:, entry.prefix :]
        y = tokens.mT.unflatten(2, grid)
        assert (x - y).abs().max() <= 1e-5 * y.abs().max(), grid


def test_positions_of_conch_v1_5_follow_dinos_factor():
    """In one axis by hand: DINO samples at (i + 0.5) / factor - 0.5, its factor a tenth too big."""
    backbone = FoundationViT("conch_v1_5", options={**SMALL, "img_size": 64})
    with torch.no_grad():
        backbone.vit.pos_embed[:, 1:] = torch.arange(4.0).repeat(4)[None, :, None]
        backbone.vit.patch_embed.proj.weight.zero_()
        backbone.vit.patch_embed.proj.bias.zero_()
        tokens = backbone.embed(torch.zeros(1, 3, 64, 128))
    row = tokens.x[0, 1:, 0].unflatten(0, (4, 8))[0]
    places = [(i + 0.5) / (8.1 / 4) - 0.5 for i in (3, 4)]
    wanted = [sum(k * cubic(place - k) for k in range(4)) for place in places]
    torch.testing.assert_close(row[3:5], torch.tensor(wanted))


def cubic(t):
    """The weight of a neighbour at distance t in torch's cubic interpolation."""
    t = abs(t)
    return 1.25 * t**3 - 2.25 * t**2 + 1 if t <= 1 else -0.75 * (t**3 - 5 * t**2 + 8 * t - 4)


def test_planes_are_seen_one_by_one():
    backbone = FoundationViT("genbio_pathfm", options=SMALL).eval()
    image = torch.randn(2, 3, 32, 48)
    with torch.no_grad():
        (x,) = backbone(image)
        (swapped,) = backbone(image[:, [1, 0, 2]])
    assert x.shape == (2, 144, 2, 3)
    parts = [swapped[:, 48:96], swapped[:, :48], swapped[:, 96:]]
    torch.testing.assert_close(x, torch.cat(parts, 1))


def test_names_are_found_in_any_spelling():
    found = {find(name).name for name in OF_THE_SOURCE}
    assert len(found) == 18 and len(entries()) == 31
    for word in ("UNI2-h", "MahmoodLab/UNI2-h", "uni_v2", " Uni.V2 "):
        assert find(word).name == "uni_v2"
    with pytest.raises(ValueError, match="no foundation model 'virchov2'; did you mean virchow"):
        find("virchov2")
    with pytest.raises(ValueError, match="no foundation model 'xyz'"):
        FoundationViT("xyz")


def test_the_catalogue_is_sound():
    for entry in entries().values():
        assert entry.converter in PUBLISHED and entry.positions
        assert entry.native_size % entry.patch == 0
        assert entry.sha256 is None or len(entry.sha256) == 64
        assert (entry.hub_id is None) == (entry.gated is None)
        if entry.sha256:
            assert by_file(entry.sha256) == entry
        if entry.hub_id:
            assert by_hub_id(entry.hub_id) == entry and entry.hub_id in " ".join(steps(entry))


def test_what_a_config_contradicts_is_told_with_both_numbers():
    with pytest.raises(
        ValueError, match=r"emb_dim: 768 given, conch_v1_5 has 1024; patch: 14 .* 16"
    ):
        FoundationViT("conch_v1_5", emb_dim=768, patch=14)


def test_a_local_file_never_asks_the_network(tmp_path, monkeypatch, caplog):
    def refuse(*_, **__):
        raise AssertionError("the network was used")

    state = FoundationViT("uni_v2", options=SMALL).vit.state_dict()
    save_file(state, tmp_path / "mine.safetensors")
    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    backbone = FoundationViT("uni2-h", str(tmp_path / "mine.safetensors"), options=SMALL)
    assert "fits uni_v2, but is not its published file" in caplog.text
    assert (
        backbone.origin["um_per_px"] == "0.5" and backbone.origin["weights"] == "mine.safetensors"
    )
    twin = build(json.loads(json.dumps(backbone.blueprint)))
    twin.load_state_dict(backbone.state_dict())
    assert twin.origin == backbone.origin and str(tmp_path) not in json.dumps(backbone.blueprint)


def test_what_the_hub_refuses_is_told_step_by_step(monkeypatch):
    def refuse(owner, file, revision):
        raise errors.LocalEntryNotFoundError(f"{owner} is not there")

    monkeypatch.setattr(foundation, "hf_hub_download", refuse)
    with pytest.raises(OSError, match=r"(?s)no weights of uni_v2.*1\. Log in at .*hf download"):
        FoundationViT("uni_v2", "hub", options=SMALL)
    with pytest.raises(OSError, match=r"(?s)patho3dmatrix_vision \(not public\).*ask its authors"):
        FoundationViT("patho3dmatrix", "hub", options=SMALL)


def test_a_damaged_download_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"half")
    monkeypatch.setattr(foundation, "hf_hub_download", lambda *_, **__: str(path))
    with pytest.raises(ValueError, match="damaged; delete it and fetch it again"):
        FoundationViT("phikon_v2", "hub", options=SMALL)
