"""Runs whose head answers with objects, 2D and 3D: fit, validate, predict."""

from __future__ import annotations

import copy

import pytest
import torch
import yaml

from microtome.data.synthetic import write_nuclei
from microtome.data.truth import read_truth
from microtome.evaluation import evaluate_instances
from microtome.models import load_segmenter
from microtome.training.parser import ConfigError
from microtome.training.run import run
from small_runs import tiny_config

HEAD = {
    "class_path": "microtome.heads.mask2former.Mask2Former",
    "init_args": {
        "task": "instance",
        "num_queries": 40,
        "hidden": 32,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "num_heads": 4,
        "num_points": 64,
        "min_score": 0.0,
    },
}


def settings_of(manifest, runs, dims):
    settings = tiny_config(manifest, runs)
    segmenter = settings["model"]["segmenter"]["init_args"]
    segmenter["head"] = copy.deepcopy(HEAD)
    backbone = segmenter["backbone"]["init_args"]
    backbone["spatial_dims"] = dims
    if dims == 3:
        backbone["in_channels"] = 1
        settings["data"]["init_args"]["crop"] = [16, 32, 32]
        settings["model"]["tile"] = [16, 32, 32]
    settings["model"]["overlap"] = 8
    settings["trainer"]["max_epochs"] = 1
    return settings


@pytest.fixture(params=[2, 3])
def settings(request, tissue, tmp_path):
    manifest = tissue
    if request.param == 3:
        manifest = write_nuclei(tmp_path / "nuclei", {"train": 2, "val": 1}, (16, 48, 48))
    return settings_of(manifest, tmp_path / "runs", request.param)


def test_fit_validate_predict(settings):
    done = run("fit", settings)
    config = yaml.safe_load((done.folder / "config.yaml").read_text())
    assert config["monitor"] == "val/pq"
    assert 0 <= done.metrics["val/pq"] <= 1
    assert 0 <= done.metrics["val/ap_dsb@0.5"] <= 1
    assert (done.folder / "visualizations" / "epoch_001_sample_00.png").is_file()
    best = str(done.folder / "checkpoints" / "best.ckpt")
    again = run("validate", settings, [f"--ckpt_path={best}"])
    assert again.metrics["val/pq"] == pytest.approx(done.metrics["val/pq"], abs=1e-6)

    model = load_segmenter(best)
    results, truths = [], []
    for item, record in enumerate(done.data.splits["val"].records):
        source = done.data.splits["val"].source(item)
        results.append(model.predict(source))
        reading = done.data.splits["val"].reading
        truths.append(read_truth(record, source.info.shape, model.classes, reading))
    assert results[0].instances.masks.maps[0].shape == source.info.shape
    assert len(results[0].instances) > 0
    assert torch.equal(results[0].instances.masks.ids, torch.arange(len(results[0].instances)) + 1)
    own = evaluate_instances(results, truths, model.classes)
    assert own["pq"] == pytest.approx(done.metrics["val/pq"], abs=1e-6)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("mode", "resize", "validated in `sliding` tiles"),
        ("monitor", "val/miou", "monitor: expected one of .*val/pq"),
    ],
)
def test_what_objects_cannot_have(tissue, tmp_path, key, value, said):
    settings = settings_of(tissue, tmp_path / "runs", 2)
    (settings if key == "monitor" else settings["model"])[key] = value
    with pytest.raises(ConfigError, match=said):
        run("fit", settings)
