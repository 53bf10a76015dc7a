"""The model of a config of PFM_Segmentation in our words."""

from __future__ import annotations

from ...catalogue import Entry, find
from .made import Converted
from .old_keys import OldKeys, number, one_of, optional, text, whole

BACKBONE = "model.segmenter.init_args.backbone.init_args"
CLASSES_HERE = "model.segmenter.init_args.head.init_args.num_classes"

NAME, WEIGHTS, WIDTH = "model.pfm_name", "model.pfm_weights_path", "model.emb_dim"
MODE, RANK, ALPHA = (f"model.finetune_mode.{key}" for key in ("type", "rank", "alpha"))
CLASSES = ("dataset.num_classes", "model.num_classes")
UNET = ("model.model_type", "model.n_channels", "model.bilinear")
ADAPTER = {
    "model.transformer_adapter.depth": (whole(1), "depth"),
    "model.transformer_adapter.mlp_ratio": (number, "mlp_ratio"),
    "model.transformer_adapter.drop_path_rate": (number, "drop_path"),
    "model.transformer_adapter.init_values": (number, "layer_scale"),
}
DROPPED = {
    "model.transformer_adapter.drop_rate": "new blocks drop whole paths only",
    "model.transformer_adapter.attn_drop_rate": "new blocks drop whole paths only",
    "model.transformer_adapter.qk_norm": "new blocks have none",
    "model.cnn_adapter.width_factor": "the adapter is a ResNet-50's first stages",
    "model.cnn_adapter.block_units": "the adapter is a ResNet-50's first stages",
}
FOUNDATION = (WEIGHTS, WIDTH, MODE, RANK, ALPHA, *ADAPTER, *DROPPED)
MODEL_KEYS = (NAME, *FOUNDATION, *CLASSES, *UNET)
MODES = {  # to the backbone's file, and where in it the transformer stands
    "full": ("foundation", ""),
    "frozen": ("foundation_frozen", ".vit.init_args"),
    "lora": ("foundation_lora", ".vit.init_args"),
    "dora": ("foundation_lora", ".vit.init_args"),
    "cnn_adapter": ("cnn_adapter_foundation", ".vit.init_args.vit.init_args"),
    "transformer_adapter": ("transformer_adapter_foundation", ".vit.init_args.vit.init_args"),
}
ATTENTION = r"(.*\.)?blocks\.\d+\.attn\.(qkv|proj)"  # the layers that it puts LoRA beside


def convert_model(old: OldKeys, made: Converted) -> None:
    """Carry over what says the model."""
    _classes(old, made)
    name = old.need(NAME, text)
    if name is not None and name.lower() == "unet":
        made.choose(NAME, "model", "unet")
        made.left.update({key: "a U-Net has none" for key in FOUNDATION if key in old})
        made.left.update({key: "the U-Net is MONAI's DynUNet" for key in UNET if key in old})
        return
    made.left.update({key: "only of a U-Net" for key in UNET if key in old})
    mode = old.read(MODE, one_of(MODES)) if old.need(MODE, text) else None
    if name is None or mode is None:
        return
    try:
        entry = find(name)
    except ValueError as error:
        old.problems.append(f"{NAME}: {error}")
        return
    file, below = MODES[mode]
    made.choose(MODE, "model/backbone", file)
    _encoder(old, made, entry, BACKBONE + below)
    _low_rank(old, made, mode)
    _adapters(old, made, mode)


def _classes(old: OldKeys, made: Converted) -> None:
    found = {key: old.read(key, whole(1)) for key in CLASSES if key in old}
    if len(set(found.values())) > 1:
        old.problems.append(" and ".join(f"{key}: {n}" for key, n in found.items()) + " differ")
    for key, count in found.items():
        made.put(key, CLASSES_HERE, count)


def _encoder(old: OldKeys, made: Converted, entry: Entry, place: str) -> None:
    made.put(NAME, f"{place}.name", entry.name)
    weights = old.read(WEIGHTS, optional(text))
    if weights is None:
        old.problems.append(
            f"{WEIGHTS}: expected a file; `hub` fetches the published one, `none` begins at random"
        )
    made.put(WEIGHTS, f"{place}.weights", weights)
    width = old.read(WIDTH, whole(1), entry.dim)
    if width != entry.dim:
        old.problems.append(f"{WIDTH}: {width} given, {entry.name} has {entry.dim}")
    elif WIDTH in old:
        made.left[WIDTH] = "derived from the model; it was compared"


def _low_rank(old: OldKeys, made: Converted, mode: str) -> None:
    sizes = {RANK: (whole(1), "rank"), ALPHA: (number, "alpha")}
    if mode not in ("lora", "dora"):
        made.left.update({key: f"{mode} has no thin matrices" for key in sizes if key in old})
        return
    made.put(MODE, f"{BACKBONE}.mode", mode)
    for key, (check, ours) in sizes.items():
        if key in old:
            made.put(key, f"{BACKBONE}.low_rank.{ours}", old.read(key, check))
    made.add(f"{BACKBONE}.low_rank.scale", "alpha")
    made.add(f"{BACKBONE}.low_rank.targets", ATTENTION)


def _adapters(old: OldKeys, made: Converted, mode: str) -> None:
    made.left.update({key: why for key, why in DROPPED.items() if key in old})
    for key, (check, ours) in ADAPTER.items():
        if key in old and mode == "transformer_adapter":
            made.put(key, f"{BACKBONE}.{ours}", old.read(key, check))
        elif key in old:
            made.left[key] = f"only of transformer_adapter, not of {mode}"
