"""Every shipped experiment made small: words for the command line, and data in its layout."""

import csv

import numpy as np
from PIL import Image

from microtome.cli import main
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


def layouts(tissue, folder):
    """What each experiment needs to be told, beside data as it expects it."""
    return {
        "ade20k": lambda: _scenes(folder),
        "demo": lambda: [f"data.init_args.manifest={tissue}", *CROPS],
        "demo_nuclei3d": lambda: small_volumes(folder),
        "demo_panoptic": lambda: _panoptic(tissue.parent),
        "dermoscopy": lambda: [*_lesions(folder), UNET],
        "dermoscopy_mask2former": lambda: _lesions(folder),
        "glands": lambda: [*_glands(folder, tissue.parent), UNET],
        "glands_mask2former": lambda: _glands(folder, tissue.parent),
        "glands_grades": lambda: [*_glands(folder, tissue.parent, graded=True), UNET],
        "lightsheet_maskdino": lambda: [*_embryos(folder), FEW_QUERIES],
        "lightsheet_unet": lambda: [*_embryos(folder), VOLUME_UNET],
        "lightsheet_mask2former": lambda: _embryos(folder),
        "lightsheet_mask2former_256": lambda: [
            *_embryos(folder),
            "model=resnet_mask2former_volume",
            "model.checkpointing=false",
        ],
        "lightsheet_mask_rcnn": lambda: [*_embryos(folder), *SMALL_REGIONS],
        "lunghist700": lambda: [*_lungs(folder), UNET],
        "lightsheet_unet_watershed": lambda: [*_embryos(folder), VOLUME_UNET],
        "mask_rcnn_resnet50_fpn": lambda: [
            *_single_nuclei(folder),
            *SMALL_REGIONS,
            *SMALL_RESNET,
        ],
        "mask_rcnn_vitdet": lambda: [*_single_nuclei(folder), *SMALL_REGIONS, *SMALL_VITDET],
        "mask2former_instance": lambda: [*_single_nuclei(folder), *SMALL_QUERIES],
        "maskdino": lambda: [*_single_nuclei(folder), *SMALL_QUERIES],
        "nuclei_maskdino": lambda: [*_single_nuclei(folder), FEW_QUERIES],
        "nuclei_mask2former": lambda: [*_single_nuclei(folder), FEW_QUERIES],
        "nuclei_mask_rcnn": lambda: [*_single_nuclei(folder), *SMALL_REGIONS],
        "nuclei_unet_watershed": lambda: [*_single_nuclei(folder), UNET],
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


def small_volumes(folder):
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
