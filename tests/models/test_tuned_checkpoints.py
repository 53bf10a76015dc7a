"""What was trained is saved alone, finds its base again, and is merged on export."""

import pytest
import torch
from safetensors.torch import save_file

from microtome.backbones.foundation import FoundationViT
from microtome.backbones.tuned import Tuned
from microtome.cli import main
from microtome.files import sha256
from microtome.models import Segmenter, load_segmenter
from microtome.structures import DataSample
from microtome.training.groups import parameter_groups
from microtome.training.parser import ConfigError
from microtome.training.run import run
from microtome.training.stored import read_header
from small_runs import tiny_config

SMALL = {"depth": 2, "embed_dim": 48, "num_heads": 4}


@pytest.fixture
def encoder(tmp_path):
    path = tmp_path / "hub" / "kaiko.safetensors"
    path.parent.mkdir()
    torch.manual_seed(3)
    save_file(FoundationViT("kaiko_vits16", options=SMALL).vit.state_dict(), path)
    return path


def config(tissue, folder, encoder, mode, **more):
    made = tiny_config(tissue, folder / "runs", max_epochs=1)
    vit = {
        "class_path": "microtome.backbones.foundation.FoundationViT",
        "init_args": {"name": "kaiko-vits16", "weights": str(encoder), "options": SMALL},
    }
    tuned = {"vit": vit, "mode": mode, "blocks": 1, "low_rank": {"rank": 2}}
    backbone = {"class_path": "microtome.backbones.tuned.Tuned", "init_args": {**tuned, **more}}
    made["model"]["segmenter"]["init_args"]["backbone"] = backbone
    return made


@pytest.mark.parametrize(
    "mode, held", [("lora", ".lora_"), ("partial", ("blocks.1.", "vit.norm."))]
)
def test_only_what_was_trained_is_saved_and_it_finds_its_base(
    tissue, tmp_path, encoder, mode, held
):
    result = run("fit", config(tissue, tmp_path, encoder, mode))
    assert f"{encoder}: 30 matched\n" in (result.folder / "training.log").read_text()
    checkpoint = result.folder / "checkpoints" / "last.ckpt"
    state = torch.load(checkpoint)["state_dict"]
    kept = [k for k in state if k.startswith("model.backbone.")]
    assert kept and all(
        any(word in k for word in ([held] if mode == "lora" else held)) for k in kept
    )
    (told,) = read_header(checkpoint)["frozen"]
    assert told["sha256"] == sha256(encoder) and told["name"].startswith("1aurent/vit_small_p")
    expected = {k: v.cpu() for k, v in result.module.model.state_dict().items()}
    model = load_segmenter(checkpoint)
    assert all(v.equal(expected[k]) for k, v in model.state_dict().items())
    assert main(["validate", "--ckpt_path", str(checkpoint), "--device", "cpu"]) == 0
    if mode == "lora":
        exported(checkpoint, model, tmp_path / "shared")
    encoder.unlink()
    with pytest.raises(FileNotFoundError, match=f"frozen weights of 1aurent/.*{told['sha256']}"):
        load_segmenter(checkpoint)


def exported(checkpoint, model, folder):
    """Thin matrices are merged: a plain model, with the answer of what was trained."""
    assert any("lora" in name for name in model.state_dict())
    assert main(["export", "--ckpt_path", str(checkpoint), "--output", str(folder)]) == 0
    twin = Segmenter.from_pretrained(folder)
    assert not any("lora" in name or "base_layer" in name for name in twin.state_dict())
    sample = DataSample(torch.rand(3, 64, 64))
    ours, theirs = (m.predict_samples([sample])[0].scores for m in (model, twin))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    for name, value in model.named_parameters():
        if "lora_B" in name:
            value.data.zero_()
    (base,) = model.predict_samples([sample])
    assert (base.scores - theirs).abs().max() > 100 * (ours - theirs).abs().max()
    assert "made for | 0.25, 0.5, 1, 2 µm" in (folder / "README.md").read_text()


def test_thin_matrices_learn_at_the_rate_of_what_is_new(small_segmenter):
    model = small_segmenter()
    model.backbone = Tuned(FoundationViT("kaiko_vits16", options=SMALL))
    groups = parameter_groups(model, backbone_lr=0.1, layer_decay=0.5)
    assert {g["lr_factor"] for g in groups} == {1.0}


def test_maps_are_remembered_only_where_samples_do_not_change(tissue, tmp_path, encoder):
    made = config(tissue, tmp_path, encoder, "frozen")
    segmenter = made["model"]["segmenter"]["init_args"]
    segmenter["backbone"] = {
        "class_path": "microtome.backbones.remembered.Remembered",
        "init_args": {"backbone": segmenter["backbone"]},
    }
    made["data"]["init_args"]["crop"] = 32
    with pytest.raises(ConfigError, match="RandomCrop change them: leave out `crop`"):
        run("fit", made)
    made["data"]["init_args"]["crop"] = None
    made["trainer"]["max_epochs"] = 2
    backbone = run("fit", made).module.model.backbone
    assert len(backbone.maps) == 6 and backbone.held == 6 * 48 * 16 * 4
