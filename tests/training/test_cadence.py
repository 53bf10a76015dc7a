"""How often a run validates and draws, and that a run that goes on keeps the rhythm."""

import csv
from types import SimpleNamespace

import pytest
from PIL import Image

from microtome.training.pictures import SamplePictures
from microtome.training.run import run
from small_runs import tiny_config


@pytest.mark.parametrize(
    ("save_every", "validated", "drawn"),
    [
        (10, range(1, 32), [1, 10, 20, 30]),
        (2, range(1, 8), [1, 2, 4, 6]),
        (10, range(5, 31, 5), [5, 10, 20, 30]),
        (10, range(3, 37, 3), [3, 12, 21, 30]),  # the next that is validated
        (1, [2, 4], [2, 4]),
    ],
)
def test_pictures_are_of_epochs_that_the_number_divides(tmp_path, save_every, validated, drawn):
    pictures, found = SamplePictures(tmp_path, save_every, num_samples=2), []
    for epoch in validated:
        trainer = SimpleNamespace(
            current_epoch=epoch - 1, sanity_checking=False, is_global_zero=True
        )
        pictures.on_validation_epoch_start(trainer, None)
        if pictures._drawn == 0:
            found.append(epoch)
        pictures.on_validation_end(trainer, None)
        resumed = SamplePictures(tmp_path, save_every, num_samples=2)
        resumed.load_state_dict(pictures.state_dict())
        pictures = resumed
    assert found == drawn


def test_a_run_that_goes_on_keeps_the_rhythm(tissue, tmp_path):
    config = tiny_config(tissue, tmp_path, check_val_every_n_epoch=2, max_epochs=6)
    config["pictures"] = {"save_every": 4, "num_samples": 1}
    first = run("fit", config, ["--trainer.max_epochs=4"])
    stopped = set((first.folder / "visualizations").iterdir())
    folder = run("fit", config, ["--ckpt_path=last"]).folder
    assert folder == first.folder
    drawn = sorted(p.name for p in (folder / "visualizations").iterdir())
    assert drawn == ["epoch_002_sample_00.png", "epoch_004_sample_00.png"]
    assert len(stopped) == 2
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [bool(row["val/miou"]) for row in rows] == [False, True] * 3
    for picture in (*(folder / "visualizations").iterdir(), folder / "training_history.png"):
        Image.open(picture).verify()
