"""Every shipped experiment goes through fit, validate and predict on small data in its layout."""

import csv
import subprocess
import sys

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from microtome.blueprint import build
from microtome.cli import main
from microtome.cli.compose import PACKAGED
from microtome.data.synthetic import write_nuclei
from real_layouts import write_ade20k, write_embryos, write_lunghist700, write_mask_folders

QUICK = [
    "trainer.max_epochs=1",
    "trainer.check_val_every_n_epoch=1",
    "trainer.accelerator=cpu",
    "data.init_args.workers=0",
    "data.init_args.batch_size=2",
]
CROPS = ["data.init_args.crop=32", "model.tile=32"]
VOLUME_UNET = (
    "model.segmenter.init_args.backbone.init_args.options="
    "{strides: [1, [1, 2, 2], 2], filters: [4, 8, 8]}"
)
UNET = (
    "model.segmenter.init_args.backbone.init_args.options={strides: [1, 2, 2], filters: [8, 8, 8]}"
)
SMALL_QUERIES = [  # of heads of queries, on a ResNet
    "model.segmenter.init_args.head.init_args={num_queries: 8, hidden: 32, num_heads: 4, "
    "encoder_layers: 1, decoder_layers: 2}",
    "model.segmenter.init_args.backbone.init_args.depth=18",
    "model.segmenter.init_args.backbone.init_args.width=8",
]
FEW_QUERIES = "model.segmenter.init_args.head.init_args.num_queries=8"
SMALL_REGIONS = [  # of Mask R-CNN
    "model.segmenter.init_args.head.init_args={hidden: 16, mask_channels: 8, mask_layers: 1, "
    "box_cells: 3, mask_cells: 4, proposals: [50, 50], regions_judged: 16, max_objects: 20}",
    "model.segmenter.init_args.neck.init_args={out_channels: 8}",
]
SMALL_RESNET = SMALL_QUERIES[1:]
SMALL_VITDET = [
    f"model.segmenter.init_args.backbone.init_args.{word}"
    for word in ("embed_dim=32", "depth=2", "num_heads=2", "groups=2", "grid=4", "window=2")
]


@pytest.fixture
def layouts(tissue, tmp_path):
    """What each experiment needs to be told, beside data as it expects it."""
    return {
        "ade20k": lambda: _scenes(tmp_path),
        "demo": lambda: [f"data.init_args.manifest={tissue}", *CROPS],
        "demo_nuclei3d": lambda: _nuclei(tmp_path),
        "demo_panoptic": lambda: _panoptic(tissue.parent),
        "dermoscopy": lambda: [*_lesions(tmp_path), UNET],
        "dermoscopy_mask2former": lambda: _lesions(tmp_path),
        "glands": lambda: [*_glands(tmp_path, tissue.parent), UNET],
        "glands_mask2former": lambda: _glands(tmp_path, tissue.parent),
        "glands_grades": lambda: [*_glands(tmp_path, tissue.parent, graded=True), UNET],
        "lightsheet_maskdino": lambda: [*_embryos(tmp_path), FEW_QUERIES],
        "lightsheet_unet": lambda: [*_embryos(tmp_path), VOLUME_UNET],
        "lightsheet_mask2former": lambda: _embryos(tmp_path),
        "lightsheet_mask2former_256": lambda: [
            *_embryos(tmp_path),
            "model=resnet_mask2former_volume",
            "model.checkpointing=false",
        ],
        "lightsheet_mask_rcnn": lambda: [*_embryos(tmp_path), *SMALL_REGIONS],
        "lunghist700": lambda: [*_lungs(tmp_path), UNET],
        "lightsheet_unet_watershed": lambda: [*_embryos(tmp_path), VOLUME_UNET],
        "mask_rcnn_resnet50_fpn": lambda: [
            *_single_nuclei(tmp_path),
            *SMALL_REGIONS,
            *SMALL_RESNET,
        ],
        "mask_rcnn_vitdet": lambda: [*_single_nuclei(tmp_path), *SMALL_REGIONS, *SMALL_VITDET],
        "mask2former_instance": lambda: [*_single_nuclei(tmp_path), *SMALL_QUERIES],
        "maskdino": lambda: [*_single_nuclei(tmp_path), *SMALL_QUERIES],
        "nuclei_maskdino": lambda: [*_single_nuclei(tmp_path), FEW_QUERIES],
        "nuclei_mask2former": lambda: [*_single_nuclei(tmp_path), FEW_QUERIES],
        "nuclei_mask_rcnn": lambda: [*_single_nuclei(tmp_path), *SMALL_REGIONS],
        "nuclei_unet_watershed": lambda: [*_single_nuclei(tmp_path), UNET],
        "pfm_linear": lambda: _foundation(tissue, "vit"),
        "pfm_lora_upernet": lambda: _foundation(tissue, "vit"),
        "pfm_mask2former": lambda: [
            *_foundation(tissue, "vit.init_args.vit"),
            "model.segmenter.init_args.backbone.init_args.num_heads=4",
            "model/head=mask2former_tiny",
        ],
    }


def _foundation(tissue, vit):
    options = "{depth: 4, embed_dim: 48, num_heads: 4}"
    place = f"model.segmenter.init_args.backbone.init_args.{vit}.init_args"
    crops = [*CROPS, "data.init_args.crops_per_image=1"]
    return [f"data.init_args.manifest={tissue}", *crops, f"{place}.options={options}"]


def _scenes(folder):
    return [
        f"data.init_args.root={write_ade20k(folder, packed=True)}",
        *CROPS,
        "model=vit_adapter_mask2former_tiny",
        "trainer.max_epochs=-1",
        "trainer.max_steps=2",
        "val_every_steps=2",
    ]


def _lungs(folder):
    return [
        f"data.init_args.root={write_lunghist700(folder)}",
        "data.init_args.resize=[24,32]",
        "data.init_args.crop=16",
        "model.tile=[24,32]",
    ]


def _panoptic(tissue):
    folders = "data.init_args.manifest.folders"
    words = [f"{folders}.{kind}={tissue / kind}" for kind in ("images", "masks", "labels")]
    return [*words, FEW_QUERIES, *CROPS]


def _nuclei(folder):
    manifest = write_nuclei(folder / "data", {"train": 2, "val": 1, "test": 1}, (8, 32, 32))
    return [
        f"data.init_args.manifest={manifest}",
        VOLUME_UNET,
        "data.init_args.crop=[8,16,16]",
        "model.tile=[8,16,16]",
    ]


def _embryos(folder):
    embryos = write_embryos(folder / "embryos", (8, 32, 32))
    words = [f"--{part}={embryos / part}" for part in ("images", "labels")]
    words += [f"--output={folder / 'nuclei'}", "--spacing_um", "1.75", "0.8", "0.8"]
    assert main(["ingest", *words, "--names", r"(?P<specimen>Emb\d+)_t(?P<minute>\d+)"]) == 0
    return [
        f"data.init_args.database.init_args.url={folder / 'nuclei' / 'volumes.sqlite'}",
        "data.init_args.split={val: {groups: [Emb01]}, test: [Emb02]}",
        "data.init_args.crops_per_image=1",
        "data.init_args.crop=[8,32,32]",
        "model.tile=[8,32,32]",
    ]


def _single_nuclei(folder):
    return [
        f"data.init_args.manifest.folders.images={write_mask_folders(folder, count=8)}",
        "data.init_args.crops_per_image=1",
        *CROPS,
    ]


def _lesions(folder):
    """Dark discs on bright skin, masks of 0 and 255."""
    rng = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (folder / kind).mkdir()
    for i in range(6):
        y, x = np.mgrid[:48, :64]
        disc = (y - 24) ** 2 + (x - rng.integers(20, 44)) ** 2 < 150
        skin = (200 - 120 * disc[..., None] + rng.integers(0, 9, (48, 64, 3))).astype(np.uint8)
        Image.fromarray(skin).save(folder / "images" / f"ISIC_{i}.jpg")
        Image.fromarray((255 * disc).astype(np.uint8)).save(
            folder / "masks" / f"ISIC_{i}_segmentation.png"
        )
    place = "data.init_args.manifest"
    return [
        f"{place}.folders.images={folder / 'images'}",
        f"{place}.folders.masks={folder / 'masks'}",
        f"{place}.split={{val: {{last: 2}}, test: {{fraction: 0.2}}}}",
        "data.init_args.resize=32",
        "model.tile=32",
    ]


def _glands(folder, tissue, graded=False):
    """The synthetic tissue's objects, with a table of patients and grades."""
    rows = [
        (path.stem, i % 4, "benign" if i % 2 else "malignant")
        for i, path in enumerate(sorted((tissue / "images").glob("*.png")))
    ]
    table = folder / "grade.csv"
    with table.open("w", newline="") as f:
        csv.writer(f).writerows([("name", "patient_id", "grade"), *rows])
    place = "data.init_args.manifest"
    words = [
        f"{place}.folders.images={tissue / 'images'}",
        f"{place}.folders.labels={tissue / 'labels'}",
        f"{place}.folders.group_table.csv={table}",
        f"{place}.split={{val: {{groups: [1]}}, test: {{groups: [2]}}}}",
        "data.init_args.crops_per_image=1",
        *CROPS,
    ]
    return [*words, f"{place}.class_table.csv={table}"] if graded else words


@pytest.mark.parametrize("name", sorted(p.stem for p in (PACKAGED / "experiment").glob("*.yaml")))
def test_an_experiment_is_fitted_validated_and_used(name, layouts, tmp_path, capsys):
    assert name in layouts, "describe the new experiment's data in `layouts`"
    runs = f"runs={tmp_path / 'runs'}"
    assert main(["fit", "--config", name, *QUICK, *layouts[name](), runs]) == 0
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
    words = [word for word in _nuclei(tmp_path) if word != VOLUME_UNET]
    backbone = "model.segmenter.init_args.backbone.init_args"
    words += [f"{backbone}.spatial_dims=3", f"{backbone}.in_channels=1", *small]
    words += ["transforms=volumes", "data.init_args.crops_per_image=1"]
    assert main(["fit", "--config", name, *words, *QUICK, f"runs={tmp_path / 'runs'}"]) == 0
    assert (tmp_path / "runs" / name / "checkpoints" / "best.ckpt").exists()


HELD_OUT = {"ade20k": "val"}  # it is published without the masks of its test images
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


@pytest.mark.slow
def test_two_processes_write_one_run(tissue, tmp_path):
    data = [f"data.init_args.manifest={tissue}", *CROPS, *QUICK]
    words = ["fit", "--config", "demo", "strategy=ddp", "trainer.devices=2", *data]
    command = [sys.executable, "-m", "microtome", *words, f"runs={tmp_path}"]
    told = subprocess.run(command, check=True, timeout=300, capture_output=True, text=True).stdout
    assert [p.name for p in tmp_path.iterdir()] == ["demo"]
    assert told.count("epoch 1/1") == 1
    assert len((tmp_path / "demo" / "metrics.csv").read_text().splitlines()) == 2


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
        name, data = "demo_nuclei3d", _nuclei(tmp_path)
    if not option.startswith("unet"):  # the words for a U-Net are not for it
        data = [word for word in data if word != VOLUME_UNET]
    partners = PARTNERS.get(f"{group}={option}", [])
    words = ["fit", "--config", name, f"{group}={option}", *partners, *data, *QUICK]
    words = [*words, f"runs={tmp_path / 'runs'}"]
    if option == "fp16":  # refused on a CPU
        assert main(words) == 2
    elif group == "strategy":  # process groups outlive a run, so they get a process of their own
        subprocess.run([sys.executable, "-m", "microtome", *words], check=True, timeout=300)
    else:
        assert main(words) == 0
