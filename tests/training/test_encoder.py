"""What is told of an encoder before a run: where it came from, and what speaks against it."""

import pytest
from safetensors.torch import save_file

from microtome.backbones.foundation import FoundationViT
from microtome.backbones.remembered import Remembered
from microtome.backbones.tuned import Tuned
from microtome.backbones.unet import UNet
from microtome.cli import main
from microtome.training.encoder import doubts

SMALL = {"depth": 2, "embed_dim": 48, "num_heads": 4}


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "kaiko.safetensors"
    save_file(FoundationViT("kaiko_vits16", options=SMALL).vit.state_dict(), path)
    return path


def test_a_strange_magnification_is_told(weights):
    encoder = FoundationViT("kaiko_vits16", str(weights), options=SMALL)
    for fine in (None, (0.6, 0.6), (2.5, 2.5)):
        assert not list(doubts(encoder, fine))
    (told,) = doubts(encoder, (4.0, 4.0))
    assert "4 µm per pixel" in told and "was made for 0.25, 0.5, 1, 2" in told


def test_weights_that_know_nothing_and_stay_so_are_told(weights):
    for mode in ("frozen", "partial", "lora"):
        (told,) = doubts(Tuned(FoundationViT("kaiko_vits16", options=SMALL), mode, 1), None)
        assert "parameters of the encoder are random and are not trained" in told
        held = Tuned(FoundationViT("kaiko_vits16", str(weights), options=SMALL), mode, 1)
        assert not list(doubts(held, None))
    random = Tuned(FoundationViT("kaiko_vits16", options=SMALL), "frozen")
    assert len(list(doubts(Remembered(random), None))) == 1
    assert not list(doubts(Tuned(FoundationViT("kaiko_vits16", options=SMALL), "full"), None))
    assert not list(doubts(UNet(), None))


def test_a_run_tells_where_its_encoder_came_from(weights, tissue, tmp_path, capsys):
    vit = "model.segmenter.init_args.backbone.init_args.vit.init_args"
    words = [f"data.init_args.manifest={tissue}", "data.init_args.crop=32", "model.tile=32"]
    words += ["trainer.fast_dev_run=true", "trainer.accelerator=cpu", "data.init_args.workers=0"]
    words += [f"{vit}.options={{depth: 2, embed_dim: 48, num_heads: 4}}", f"runs={tmp_path}"]
    assert main(["fit", "--config", "pfm_linear", *words]) == 0
    told = capsys.readouterr()
    assert "are random and are not trained" in told.out + told.err
    assert main(["fit", "--config", "pfm_linear", *words, f"{vit}.weights={weights}"]) == 0
    told = capsys.readouterr()
    assert "are random" not in told.out + told.err
    assert "kaiko.safetensors, Kaiko Non-Commercial Public License v1" in told.out
