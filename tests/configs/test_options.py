"""Every option of every config group trains."""

import subprocess
import sys

import pytest
import torch
import yaml
from small_experiments import CROPS, QUICK, VOLUME_UNET, small_volumes

from microtome.blueprint import build
from microtome.cli import main
from microtome.cli.compose import PACKAGED

HEAD = "model.segmenter.init_args.head"
PARTNERS = {  # options that only go together
    "loss=bce": ["model/head=dense"],
    "loss=bce_dice": ["model/head=dense"],
    "loss=ce": ["model/head=dense"],
    "loss=ce_dice": ["model/head=dense"],
    "loss=ce_dice_balanced": ["model/head=dense"],
    "loss=ce_dice_boundary": ["model/head=dense"],
    "loss=ce_lovasz": ["model/head=dense"],
    "loss=dice": ["model/head=dense"],
    "loss=focal": ["model/head=dense"],
    "loss=iou": ["model/head=dense"],
    "loss=ohem": ["model/head=dense"],
    "loss=tversky": ["model/head=dense"],
    "model=unet_watershed": ["metrics=pq"],
    "model=unet_watershed_volume": ["metrics=pq"],
    "model/head=boundary_watershed": ["metrics=pq"],
    "metrics=pq": ["model/head=mask2former_tiny", f"{HEAD}.init_args.task=instance"],
    "model/head=mask_rcnn": ["metrics=pq", "model/neck=fpn"],
    "model/head=maskdino": ["metrics=pq"],
    "model/head=maskdino_tiny": ["metrics=pq"],
    "model/backbone=foundation_remembered": ["transforms=none", "data.init_args.crop=null"],
    "model/neck=simple_pyramid": ["model/backbone=timm_vit_small"],
    "model=resnet_mask_rcnn": ["metrics=pq"],
    "model=resnet_mask_rcnn_small": ["metrics=pq"],
    "model=resnet_mask_rcnn_volume": ["metrics=pq"],
    "model=resnet_maskdino": ["metrics=pq"],
    "model=resnet_maskdino_small": ["metrics=pq"],
    "model=resnet_maskdino_volume": ["metrics=pq"],
    "model=vitdet_mask_rcnn": ["metrics=pq"],
}
OPTIONS = [
    (folder.relative_to(PACKAGED).as_posix(), option.stem)
    for folder in sorted(p for p in PACKAGED.rglob("*") if p.is_dir() and p.name != "experiment")
    for option in sorted(folder.glob("*.yaml"))
]
TOO_LARGE = 200e6  # parameters: with gradients and optimiser more than a small machine holds


def _built(option):
    """A backbone by its file, without memory for its weights."""
    text = (PACKAGED / "model" / "backbone" / f"{option}.yaml").read_text()
    with torch.device("meta"):
        return build(yaml.safe_load(text))


def _is_too_large(group, option):
    if group != "model/backbone":
        return False
    return sum(p.numel() for p in _built(option).parameters()) > TOO_LARGE


@pytest.mark.parametrize(
    "option, parameters, stride",
    [
        ("vits", 21_665_664, (4.0, 4.0)),
        ("vitb", 85_798_656, (4.0, 4.0)),
        ("uni2", 681_394_176, (3.5, 3.5)),  # as on UNI2-h's card
        ("volume", 21_687_936, (1.0, 4.0, 4.0)),
    ],
)
def test_an_adapter_is_around_the_transformer_it_names(option, parameters, stride):
    backbone = _built(f"vit_adapter_{option}")
    assert sum(p.numel() for p in backbone.vit.parameters()) == parameters
    assert backbone.spec.strides[0] == stride
    assert backbone.cuts[-1] == backbone.vit.depth
    shape = [2 * m for m in backbone.spec.multiple]
    maps = backbone(torch.zeros(1, backbone.in_channels, *shape, device="meta"))
    for x, strides in zip(maps, backbone.spec.strides, strict=True):
        assert [n * s for n, s in zip(x.shape[2:], strides, strict=True)] == shape
    assert _is_too_large("model/backbone", f"vit_adapter_{option}") == (option == "uni2")


@pytest.mark.slow
@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_option_of_every_group_trains(group, option, tissue, tmp_path):
    if group == "data" and option != "manifest":
        pytest.skip("it has an experiment of its own")
    if _is_too_large(group, option):
        pytest.skip(f"more than {TOO_LARGE:.0f} parameters; built without memory elsewhere")
    data = [f"data.init_args.manifest={tissue}", "data.init_args.crop=32", "model.tile=64"]
    name = "demo"
    if option.endswith("_volume"):
        name, data = "demo_nuclei3d", small_volumes(tmp_path)
    if not option.startswith("unet"):  # the words for a U-Net are not for it
        data = [word for word in data if word != VOLUME_UNET]
    partners = PARTNERS.get(f"{group}={option}", [])
    words = ["fit", "--config", name, f"{group}={option}", *data, *partners, *QUICK]
    words = [*words, f"runs={tmp_path / 'runs'}"]
    if option == "fp16":  # refused on a CPU
        assert main(words) == 2
    elif group == "strategy":  # process groups outlive a run, so they get a process of their own
        subprocess.run([sys.executable, "-m", "microtome", *words], check=True, timeout=300)
    else:
        assert main(words) == 0


@pytest.mark.slow
def test_two_processes_write_one_run(tissue, tmp_path):
    data = [f"data.init_args.manifest={tissue}", *CROPS, *QUICK]
    words = ["fit", "--config", "demo", "strategy=ddp", "trainer.devices=2", *data]
    command = [sys.executable, "-m", "microtome", *words, f"runs={tmp_path}"]
    told = subprocess.run(command, check=True, timeout=300, capture_output=True, text=True).stdout
    assert [p.name for p in tmp_path.iterdir()] == ["demo"]
    assert told.count("epoch 1/1") == 1
    assert len((tmp_path / "demo" / "metrics.csv").read_text().splitlines()) == 2
