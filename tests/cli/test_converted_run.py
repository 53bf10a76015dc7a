"""A config of PFM_Segmentation, converted and run on a JSON data set of its form."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
import yaml
from PIL import Image

from microtome.cli import main

EXAMPLE = Path(__file__).with_name("pfm_config.yaml")
VIT = "model.segmenter.init_args.backbone.init_args.vit.init_args"
SMALLER = [  # no weights are at hand, and tests are for two cores: the same parts, less of them
    f"{VIT}.weights=none",
    f"{VIT}.options={{depth: 2, embed_dim: 48, num_heads: 4}}",
    "data.init_args.resize=64",
    "model.tile=64",
    "data.init_args.batch_size=2",
    "data.init_args.workers=0",
    "trainer.max_epochs=5",  # of 4 steps
    "trainer.accelerator=cpu",
    "trainer.devices=1",
]


def write_set(folder):
    """Discs of two classes, as JPEG; the last test image has no mask."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:48, :72]
    data = {"train": [], "val": [], "test": []}
    for number, split in enumerate([*["train"] * 8, "val", "val", "test", "test"]):
        mask = np.zeros((48, 72), np.uint8)
        for kind in (1, 2):
            centre = rng.integers((12, 24 * kind), (36, 24 * kind + 12))
            mask[(y - centre[0]) ** 2 + (x - centre[1]) ** 2 < 90] = kind
        colours = np.array([[235, 215, 230], [130, 60, 140], [200, 80, 100]])
        pixels = np.clip(colours[mask] + rng.normal(0, 8, (48, 72, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"image{number:03d}.jpg")
        Image.fromarray(mask).save(folder / f"mask{number:03d}.png")
        entry = {"image_path": str(folder / f"image{number:03d}.jpg")}
        entry["mask_path"] = None if number == 11 else str(folder / f"mask{number:03d}.png")
        data[split].append(entry)
    file = folder / "dataset.json"
    file.write_text(json.dumps({"num_classes": 3, "data": data}))
    return file


@pytest.mark.slow
def test_the_example_of_its_documents_runs_for_20_steps_and_leaves_all_outputs(tmp_path, capsys):
    old = yaml.safe_load(EXAMPLE.read_text())
    old["dataset"]["json_file"] = str(write_set(tmp_path))
    old["logging"]["log_dir"] = str(tmp_path / "logs")
    (tmp_path / "old.yaml").write_text(yaml.safe_dump(old))
    new = str(tmp_path / "new.yaml")
    assert main(["convert-config", "pfm", str(tmp_path / "old.yaml"), "--out", new]) == 0
    assert main(["fit", "--config", new, *SMALLER]) == 0
    run = tmp_path / "logs" / "pfm_segmentation"
    found = {p.relative_to(run).as_posix() for p in run.rglob("*") if p.is_file()}
    pictures = {
        f"visualizations/epoch_{e:03d}_sample_{s:02d}.png" for e in (1, 2, 4) for s in (0, 1)
    }
    assert {name for name in found if name.startswith("visualizations")} == pictures
    assert found >= {
        "config.yaml",
        "training.log",
        "training_history.png",
        "metrics.csv",
        "checkpoints/best.ckpt",
        "checkpoints/last.ckpt",
    }
    with (run / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [4, 8, 12, 16, 20]
    assert all(float(row[key]) > 0 for row in rows for key in ("val/miou", "val/loss", "seconds"))
    assert float(rows[-1]["train/loss"]) < float(rows[0]["train/loss"])
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["trainer"]["gradient_clip_val"] == 5.0

    out = tmp_path / "results"
    words = ["--ckpt_path", str(run), "--output", str(out), "--confidence", "--device", "cpu"]
    assert main(["predict", *words]) == 0
    for folder in ("predictions_masks", "predictions_overlays"):
        assert sorted(p.name for p in (out / folder).iterdir()) == ["image010.png", "image011.png"]
    mask = np.asarray(Image.open(out / "predictions_masks" / "image011.png"))
    assert mask.shape == (48, 72) and mask.max() < 3  # as large as the image was
    assert list(json.loads((out / "metrics.json").read_text())["images"]) == ["image010"]
    assert tifffile.imread(out / "confidence" / "image011.tif").shape == (48, 72)
