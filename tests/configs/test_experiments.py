"""Every shipped experiment goes through fit, validate and predict on small data in its layout."""

import pytest
from small_experiments import (
    QUICK,
    SMALL_QUERIES,
    SMALL_REGIONS,
    SMALL_RESNET,
    SMALL_VITDET,
    VOLUME_UNET,
    layouts,
    small_volumes,
)

from microtome.cli import main
from microtome.cli.compose import PACKAGED

HELD_OUT = {"ade20k": "val"}  # it is published without the masks of its test images


@pytest.mark.parametrize("name", sorted(p.stem for p in (PACKAGED / "experiment").glob("*.yaml")))
def test_an_experiment_is_fitted_validated_and_used(name, tissue, tmp_path):
    told = layouts(tissue, tmp_path)
    assert name in told, "describe the new experiment's data in `layouts`"
    runs = f"runs={tmp_path / 'runs'}"
    assert main(["fit", "--config", name, *QUICK, *told[name](), runs]) == 0
    (run,) = (tmp_path / "runs").iterdir()
    checkpoint = str(run / "checkpoints" / "best.ckpt")
    assert main(["validate", "--ckpt_path", checkpoint]) == 0
    out = tmp_path / "out"
    words = ["--input", str(run / "data.json"), "--output", str(out), "--device", "cpu"]
    words += ["--split", HELD_OUT.get(name, "test")]
    assert main(["predict", "--ckpt_path", checkpoint, *words]) == 0
    assert list((out / "predictions_overlays").rglob("*.png"))
    assert (out / "metrics.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, small",
    [
        ("maskdino", SMALL_QUERIES),
        ("mask2former_instance", SMALL_QUERIES),
        ("mask_rcnn_resnet50_fpn", [*SMALL_REGIONS, *SMALL_RESNET]),
        ("mask_rcnn_vitdet", [*SMALL_REGIONS, *SMALL_VITDET]),
    ],
)
def test_recipes_of_objects_take_volumes_too(name, small, tmp_path):
    """By the number of axes and other data alone."""
    words = [word for word in small_volumes(tmp_path) if word != VOLUME_UNET]
    backbone = "model.segmenter.init_args.backbone.init_args"
    words += [f"{backbone}.spatial_dims=3", f"{backbone}.in_channels=1", *small]
    words += ["transforms=volumes", "data.init_args.crops_per_image=1"]
    assert main(["fit", "--config", name, *words, *QUICK, f"runs={tmp_path / 'runs'}"]) == 0
    assert (tmp_path / "runs" / name / "checkpoints" / "best.ckpt").exists()
