"""`microtome predict --store`, for classes and for objects."""

from __future__ import annotations

import csv
import json
from functools import partial

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from microtome.backbones.unet import UNet
from microtome.cli import main
from microtome.data.stores import open_labels
from microtome.geometry import window
from microtome.heads.mask2former import Mask2Former
from microtome.inference.objects import found
from microtome.models import Segmenter
from microtome.structures import Classes


def whole(path):
    labels = open_labels(path)
    return labels.read(window(labels.shape))


def test_classes_are_those_of_the_plain_way(finished, tissue, tmp_path, capsys):
    image = sorted((tissue.parent / "images").iterdir())[0]
    words = ["predict", "--ckpt_path", str(finished.folder / "checkpoints" / "best.ckpt")]
    words += ["--input", str(image), "--tile", "32", "--overlap", "0.5"]
    assert main([*words, "--output", str(tmp_path / "plain")]) == 0
    assert main([*words, "--output", str(tmp_path / "stored"), "--store"]) == 0
    assert "9 tiles, about 0 min" in capsys.readouterr().out
    with Image.open(tmp_path / "plain" / "predictions_masks" / f"{image.stem}.png") as mask:
        plain = np.asarray(mask)
    stored = tmp_path / "stored" / "predictions_masks" / f"{image.stem}.ome.zarr"
    assert np.array_equal(whole(stored), plain)
    pictures = [tmp_path / kind / "predictions_overlays" for kind in ("plain", "stored")]
    one, other = (np.asarray(Image.open(p / f"{image.stem}.png")) for p in pictures)
    assert np.array_equal(one, other)


def test_the_metrics_are_those_of_the_plain_way(finished, tissue, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(found, "BLOCK", 256)
    words = ["predict", "--ckpt_path", str(finished.folder / "checkpoints" / "best.ckpt")]
    words += ["--input", str(finished.folder / "data.json"), "--split", "val"]
    assert main([*words, "--output", str(tmp_path / "plain")]) == 0
    assert main([*words, "--output", str(tmp_path / "stored"), "--store"]) == 0
    plain, stored = (
        json.loads((tmp_path / kind / "metrics.json").read_text()) for kind in ("plain", "stored")
    )
    assert len(plain["images"]) > 1 and stored == plain
    assert capsys.readouterr().out.count("pixel accuracy") == 2
    name = next(iter(plain["images"]))
    one, other = (
        np.asarray(Image.open(tmp_path / kind / "predictions_overlays" / f"{name}.png"))
        for kind in ("plain", "stored")
    )
    assert np.array_equal(one, other), "the truth's column, too"


@pytest.fixture
def model(tmp_path):
    """Untrained, so that it answers with whatever objects its queries make of the image."""
    torch.manual_seed(0)
    net = UNet(
        "BasicUNet", 8, 1, 3, {"features": [8, 8, 8, 8, 8, 8]}
    )  # net, out and in channels, axes
    small = {"hidden": 32, "encoder_layers": 1, "decoder_layers": 1, "num_heads": 4}
    head = partial(Mask2Former, task="instance", num_queries=6, min_score=0.0, **small)
    Segmenter(net, head, Classes(("background", "cell"))).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_objects_of_a_volume(model, tmp_path):
    volume = tmp_path / "embryo.tif"
    pixels = np.random.default_rng(0).integers(0, 255, (20, 40, 40), np.uint8)
    tifffile.imwrite(volume, pixels, imagej=True, metadata={"axes": "ZYX"})
    words = ["predict", "--ckpt_path", str(model), "--input", str(volume), "--store"]
    words += ["--tile", "20", "--overlap", "8", "--spacing_um", "0.5", "--output"]
    assert main([*words, str(tmp_path / "out")]) == 0
    out = tmp_path / "out" / "instances"
    ids = whole(out / "embryo.ome.zarr")
    assert open_labels(out / "embryo.ome.zarr").spacing == (0.5, 0.5, 0.5)
    with (out / "embryo.csv").open() as f:
        rows = list(csv.DictReader(f))
    assert len(rows) > 0
    assert {int(row["id"]) for row in rows} >= set(np.unique(ids)) - {0}
    pictures = tmp_path / "out" / "predictions_overlays"
    assert sorted(p.name for p in pictures.iterdir()) == ["embryo.png", "embryo.projection.png"]
    first = (tmp_path / "out" / "work" / "embryo" / "ledger.jsonl").read_text().splitlines()
    assert json.loads(first[-1]) == {"finished": True}
    assert main([*words, str(tmp_path / "out"), "--workers", "2"]) == 0  # done already
    assert main([*words, str(tmp_path / "more"), "--workers", "2"]) == 0
    assert np.array_equal(whole(tmp_path / "more" / "instances" / "embryo.ome.zarr"), ids)


def test_other_tiles_are_refused(finished, tissue, tmp_path, capsys):
    image = sorted((tissue.parent / "images").iterdir())[0]
    words = ["predict", "--ckpt_path", str(finished.folder / "checkpoints" / "best.ckpt")]
    words += ["--input", str(image), "--output", str(tmp_path), "--store", "--overlap", "0"]
    assert main([*words, "--tile", "32"]) == 0
    assert main([*words, "--tile", "64"]) == 2
    assert "tile was 32 and is now 64" in capsys.readouterr().err
    assert main([*words, "--tile", "64", "--overwrite"]) == 0
    assert "1 images predicted" in capsys.readouterr().out
    assert main([*words, "--tile", "64"]) == 0
    assert "0 images predicted, 1 kept from before" in capsys.readouterr().out
