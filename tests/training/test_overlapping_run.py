"""Classes that overlap, from a manifest to predictions and their numbers."""

import json

import numpy as np
import pytest
from PIL import Image

from microtome.cli import main
from microtome.training.run import run
from small_runs import tiny_config


@pytest.fixture
def discs(tmp_path):
    """Two discs that overlap, one red and one green: each is a class; 3 images."""
    y, x = np.ogrid[:64, :64]
    entries = []
    for n in range(3):
        red = (y - 28) ** 2 + (x - 24 - 4 * n) ** 2 < 256
        green = (y - 36) ** 2 + (x - 36) ** 2 < 256
        image = np.stack([200 * red, 200 * green, 40 * np.ones_like(red)], -1).astype(np.uint8)
        Image.fromarray(image).save(tmp_path / f"{n}.png")
        mask = np.stack([red, green, np.zeros_like(red)], -1).astype(np.uint8)
        Image.fromarray(mask).save(tmp_path / f"{n}_mask.png")
        entries.append({"image_path": f"{n}.png", "mask_path": f"{n}_mask.png"})
    said = {"class_names": ["red", "green", "blue"], "exclusive": False}
    said |= {"mask_encoding": "channels", "channels": "rgb"}
    splits = dict(zip(("train", "val", "test"), ([e] for e in entries), strict=True))
    (tmp_path / "m.json").write_text(json.dumps(said | {"data": splits}))
    return tmp_path / "m.json"


def test_from_masks_of_each_class_to_sets_and_numbers(discs, tmp_path, capsys):
    config = tiny_config(discs, tmp_path / "runs", max_epochs=15, check_val_every_n_epoch=15)
    config["data"]["init_args"]["crops_per_image"] = 8
    config["model"]["optimizer"] = {
        "class_path": "torch.optim.AdamW",
        "init_args": {"lr": 0.03},
    }
    done = run("fit", config)
    assert done.module.model.weights == {"dice": 1.0, "binary_cross_entropy": 1.0}
    checkpoint, out = done.folder / "checkpoints" / "last.ckpt", tmp_path / "out"
    given = ["--ckpt_path", checkpoint, "--input", discs, "--output", out, "--device", "cpu"]
    assert main(["predict", *map(str, given)]) == 0
    found = np.asarray(Image.open(out / "predictions_masks" / "2.png"))
    truth = np.asarray(Image.open(discs.parent / "2_mask.png")) @ [1, 2, 4]
    right = (found == truth).mean()
    assert right > 0.8 and {1, 2, 3} <= {*np.unique(found).tolist()}, right
    numbers = json.loads((out / "metrics.json").read_text())
    assert "iou/red" in json.dumps(numbers) and "red + green" not in json.dumps(numbers)
    assert "green" in capsys.readouterr().out
