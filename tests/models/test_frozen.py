"""Frozen weights are named in checkpoints and found again, or it is told what is missing."""

import os
import shutil
import socket
from functools import partial

import pytest
import timm
import torch
from safetensors.torch import save_file

from microtome import catalogue
from microtome.backbones.licences import licence_of, warning
from microtome.backbones.pretrained import PretrainedPyramid, PretrainedViT
from microtome.cli import main
from microtome.files import sha256
from microtome.heads.dense import Dense
from microtome.models import Segmenter, frozen, load_segmenter
from microtome.training.parser import ConfigError
from microtome.training.run import run
from microtome.training.stored import read_header
from small_runs import tiny_config


@pytest.fixture
def encoder(tmp_path):
    """A published file of a small encoder with batch normalisation."""
    path = tmp_path / "hub" / "encoder.safetensors"
    path.parent.mkdir()
    torch.manual_seed(3)
    save_file(timm.create_model("test_resnet").state_dict(), path)
    return path


@pytest.fixture
def config(tissue, tmp_path, encoder):
    made = tiny_config(tissue, tmp_path / "runs", max_epochs=1)
    made["model"]["segmenter"]["init_args"]["backbone"] = {
        "class_path": "microtome.backbones.pretrained.PretrainedPyramid",
        "init_args": {"name": "test_resnet", "weights": str(encoder), "freeze": True},
    }
    return made


@pytest.fixture
def checkpoint(config):
    return run("fit", config).folder / "checkpoints" / "last.ckpt"


def test_a_frozen_backbone_does_not_change(encoder):
    backbone = PretrainedPyramid("test_resnet", str(encoder), freeze=True)
    before = {k: v.clone() for k, v in backbone.state_dict().items()}
    backbone.train()
    maps = backbone(torch.randn(2, 3, 64, 64))
    assert not any(x.requires_grad for x in maps) and not backbone.net.training
    assert all(v.equal(before[k]) for k, v in backbone.state_dict().items())


def test_a_checkpoint_names_its_frozen_weights(checkpoint, encoder):
    header, state = read_header(checkpoint), torch.load(checkpoint)["state_dict"]
    told = {"name": "test_resnet", "sha256": sha256(encoder), "path": str(encoder)}
    assert header["frozen"] == [{"prefix": "backbone.", **told}]
    assert header["classes"]["init_args"]["names"][2] == "gland"
    assert header["classes"]["init_args"]["colours"] and header["normalisation"] == "backbone"
    assert not [k for k in state if k.startswith("model.backbone.")]


def weights_of(model):
    return {k: v for k, v in model.state_dict().items() if k.startswith("backbone.")}


def moved(checkpoint, encoder, place):
    """The checkpoint in another folder, and the encoder's file no more where it was."""
    shutil.move(checkpoint.parent, place)
    shutil.move(encoder, place.parent / "gone")
    return place / checkpoint.name, place.parent / "gone"


@pytest.mark.parametrize("where", ["last path", "beside", "variable", "argument", "cache"])
def test_the_file_is_found(checkpoint, encoder, tmp_path, monkeypatch, where):
    expected = weights_of(load_segmenter(checkpoint))
    assert expected["backbone.net.conv1.0.weight"].equal(
        timm.create_model("test_resnet", checkpoint_path=str(encoder)).conv1[0].weight
    )
    argument = None
    if where != "last path":
        checkpoint, file = moved(checkpoint, encoder, tmp_path / "elsewhere")
        if where == "beside":
            shutil.copy(file, checkpoint.with_name("encoder.safetensors"))
        if where == "variable":
            (tmp_path / "a" / "b").mkdir(parents=True)
            shutil.copy(file, tmp_path / "a" / "b" / "encoder.safetensors")
            monkeypatch.setenv("MICROTOME_WEIGHTS", f"/nowhere{os.pathsep}{tmp_path / 'a'}")
        if where == "argument":
            argument = file.rename(tmp_path / "renamed.safetensors")
        if where == "cache":
            model = tmp_path / "cache" / "models--lab--encoder"
            (model / "blobs").mkdir(parents=True)
            (model / "snapshots" / "main").mkdir(parents=True)
            blob = shutil.copy(file, model / "blobs" / sha256(file))
            (model / "snapshots" / "main" / "encoder.safetensors").symlink_to(blob)
            monkeypatch.setattr(frozen, "HF_HUB_CACHE", str(tmp_path / "cache"))
    found = load_segmenter(checkpoint, weights=argument)
    assert all(v.equal(expected[k]) for k, v in weights_of(found).items())


def test_what_is_missing_is_told_exactly(checkpoint, encoder, tmp_path, capsys):
    mark = sha256(encoder)
    checkpoint, _ = moved(checkpoint, encoder, tmp_path / "elsewhere")
    other = checkpoint.with_name("encoder.safetensors")
    other.write_bytes(b"another")
    with pytest.raises(FileNotFoundError) as told:
        load_segmenter(checkpoint)
    other_one = f"others by their sha256: {other}"
    for word in ("test_resnet", mark, str(encoder), "MICROTOME_WEIGHTS", other_one, "--weights"):
        assert word in str(told.value)
    for verb in (["validate"], ["predict", "--input", str(tmp_path), "--output", "o"]):
        assert main([*verb, "--ckpt_path", str(checkpoint)]) == 2
        assert mark in capsys.readouterr().err


def test_validate_and_resume_use_the_named_file(checkpoint, config, encoder, tmp_path, capsys):
    assert main(["validate", "--ckpt_path", str(checkpoint), "--device", "cpu"]) == 0
    longer = {**config, "ckpt_path": "last"}
    longer["trainer"] = {**config["trainer"], "max_epochs": 2}
    assert run("fit", longer).module.trainer.global_step == 6
    checkpoint, file = moved(checkpoint, encoder, tmp_path / "elsewhere")
    file.rename(checkpoint.with_name("encoder.safetensors"))
    capsys.readouterr()
    assert main(["validate", "--ckpt_path", str(checkpoint), "--device", "cpu"]) == 0
    assert "lumen" in capsys.readouterr().out


def test_another_file_is_refused(checkpoint, config, encoder):
    save_file(timm.create_model("test_resnet").state_dict(), encoder)
    with pytest.raises(ConfigError, match="not the file that the checkpoint was trained on"):
        run("fit", {**config, "ckpt_path": str(checkpoint)})


def test_trained_weights_are_in_the_checkpoint(config, encoder, tmp_path, capsys):
    """Validating needs the encoder's file no more, wherever its config says it was."""
    del config["model"]["segmenter"]["init_args"]["backbone"]["init_args"]["freeze"]
    checkpoint = run("fit", config).folder / "checkpoints" / "last.ckpt"
    encoder.unlink()
    assert main(["validate", "--ckpt_path", str(checkpoint), "--device", "cpu"]) == 0
    assert read_header(checkpoint)["frozen"] == []


@pytest.fixture
def offline(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("the network was used")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_an_exported_folder_is_complete_and_local(checkpoint, encoder, tmp_path, offline, capsys):
    out = tmp_path / "shared"
    assert main(["export", "--ckpt_path", str(checkpoint), "--output", str(out)]) == 0
    assert "licence of the encoder is not known here" in capsys.readouterr().out
    expected = load_segmenter(checkpoint).state_dict()
    encoder.unlink()
    twin = Segmenter.from_pretrained(out)
    assert all(v.equal(expected[k]) for k, v in twin.state_dict().items())
    assert str(tmp_path) not in (out / "config.json").read_text()
    assert main(["export", "--ckpt_path", str(checkpoint), "--output", str(out)]) == 2
    assert "something in it already" in capsys.readouterr().err


def test_a_published_file_is_known_by_its_content(encoder, classes, tmp_path, monkeypatch):
    known = catalogue.find("uni_v2")._replace(sha256=sha256(encoder))
    monkeypatch.setattr(catalogue, "entries", lambda: {"uni_v2": known})
    backbone = PretrainedPyramid("test_resnet", str(encoder))
    Segmenter(backbone, partial(Dense, channels=8), classes).save_pretrained(tmp_path / "model")
    card = (tmp_path / "model" / "README.md").read_text()
    assert "MahmoodLab/UNI2-h (encoder.safetensors), licence: CC-BY-NC-ND-4.0" in card
    assert "**The encoder's licence (CC-BY-NC-ND-4.0) forbids commercial use" in card


def test_licences_are_known_by_repository_too():
    assert licence_of("MahmoodLab/UNI", "mit") == "CC-BY-NC-ND-4.0"
    assert licence_of("lab/encoder", "mit") == "mit" and warning("mit") is None
    assert licence_of("lab/encoder", None) == "not stated"
    assert warning("Apache-2.0") is None and "restricts" in warning("cc-by-nc-4.0")


def test_a_vision_transformer_is_frozen_and_found_alike(tmp_path):
    path = tmp_path / "vit.safetensors"
    save_file(timm.create_model("test_vit").state_dict(), path)
    backbone = PretrainedViT("test_vit", str(path), freeze=True)
    twin = PretrainedViT("test_vit", freeze=True, origin=dict(backbone.origin))
    twin.refill(path)
    assert all(v.equal(twin.state_dict()[k]) for k, v in backbone.state_dict().items())
    path.write_bytes(b"another")
    with pytest.raises(ValueError, match="not the file"):
        twin.refill(path)
