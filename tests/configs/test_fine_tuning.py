"""Every way to fine-tune that the how-to lists trains from the command line."""

import csv
import re
import shlex
from pathlib import Path

import pytest

from microtome.cli import main

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "fine_tune.md"
TRANSFORMER = {  # where it stands, by the word that chooses the backbone
    "model/backbone=foundation": "",
    "model/backbone=foundation_remembered": ".backbone.init_args.vit.init_args",
    "model/backbone=cnn_adapter_foundation": ".vit.init_args.vit.init_args",
    "model/backbone=transformer_adapter_foundation": ".vit.init_args.vit.init_args",
}
SMALL = "options={depth: 2, embed_dim: 64, num_heads: 2}"
QUICK = [
    "trainer.max_epochs=6",
    "trainer.check_val_every_n_epoch=6",
    "trainer.accelerator=cpu",
    "trainer.precision=32-true",
    "data.init_args.workers=0",
    "data.init_args.batch_size=2",
    "data.init_args.crop=64",
    "data.init_args.crops_per_image=1",
    "model.tile=64",
    "model.optimizer.init_args.lr=0.003",
    "transforms=none",
]


def ways():
    """The first column of the table whose head is `MORE`."""
    table = PAGE.read_text().partition("| `MORE` |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| (?:`(.+?)`|\(nothing\)) \|", table, re.MULTILINE)
    assert len(rows) == 10
    return rows


@pytest.mark.slow
@pytest.mark.parametrize("more", ways())
def test_a_way_of_the_how_to_trains(more, tissue, tmp_path):
    words = shlex.split(more)
    place = next((TRANSFORMER[w] for w in words if w in TRANSFORMER), ".vit.init_args")
    small = f"model.segmenter.init_args.backbone.init_args{place}.{SMALL}"
    given = [f"data.init_args.manifest={tissue}", small, f"runs={tmp_path}", *QUICK]
    assert main(["fit", "--config", "pfm_linear", *given, *words]) == 0
    with next(tmp_path.glob("*/metrics.csv")).open() as file:
        losses = [float(row["train/loss"]) for row in csv.DictReader(file) if row["train/loss"]]
    assert losses[-1] < losses[0]
