"""A config of PFM_Segmentation in our words: an experiment file of config groups. No torch.

Where the two differ in what they do, the reason stands in `left`, or beside the code that chooses.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..compose import ComposeError
from ..words import trainer_of
from .made import Converted, OldConfigError
from .old_keys import Check, OldKeys, number, optional, switch, text, whole
from .pfm_model import MODEL_KEYS, convert_model
from .pfm_schedule import RATE, SCHEDULE_KEYS, convert_schedule
from .pfm_training import TRAINING_KEYS, convert_loss, convert_optimizer

KEPT: Mapping[str, tuple[Check, str]] = {
    "dataset.json_file": (text, "data.init_args.manifest"),
    "system.num_workers": (whole(0), "data.init_args.workers"),
    "system.seed": (whole(0), "seed"),
    "training.batch_size": (whole(1), "data.init_args.batch_size"),
    "training.epochs": (whole(1), "trainer.max_epochs"),
    "training.learning_rate": (number, RATE),
    "training.accumulate_grad_batches": (whole(1), "trainer.accumulate_grad_batches"),
    "training.clip_grad_norm": (optional(number), "trainer.gradient_clip_val"),
    "validation.eval_interval": (whole(1), "trainer.check_val_every_n_epoch"),
    "logging.log_dir": (text, "runs"),
    "logging.experiment_name": (text, "name"),
    "visualization.save_interval": (whole(1), "pictures.save_every"),
    "visualization.num_vis_samples": (whole(0), "pictures.num_samples"),
}
LEFT: Mapping[str, str] = {
    "system.pin_memory": "nothing to choose; it changes no result",
    "validation.batch_size": "images are validated one by one; no number depends on it",
}
CROP, WHOLE = "training.augmentation.RandomResizedCropSize", "validation.augmentation.ResizedSize"
OTHERS = ("dataset.ignore_index", "training.loss.ignore_index", "training.use_amp", "system.device")
KNOWN = (*KEPT, *LEFT, CROP, WHOLE, *OTHERS, *TRAINING_KEYS, *SCHEDULE_KEYS, *MODEL_KEYS)
PARTS = (convert_optimizer, convert_schedule, convert_loss, convert_model)
USUAL = 255  # what is not judged
GROUPS = {  # what holds where the old config says nothing
    "data": "manifest",
    "transforms": "pfm",
    "model": "foundation_upsampling",
    "loss": "ce_dice",
    "optimizer": "adamw",
    "scheduler": "cosine",
    "metrics": "miou",
    "trainer": "default",
    "strategy": "single",
}


def convert(given: Mapping[str, Any]) -> Converted:
    """Carry every key over, or say why not.

    Args:
        given: the old config, as YAML has it.

    Raises OldConfigError listing unknown keys, wrong values and what is missing.
    """
    old, made = OldKeys(given, KNOWN), Converted(dict(GROUPS), {}, {}, {})
    old.need("dataset.json_file", text)
    for key, (check, ours) in KEPT.items():
        if key in old:
            made.put(key, ours, old.read(key, check))
    made.left.update({key: why for key, why in LEFT.items() if key in old})
    for convert_part in (_ignored, _sizes, _device, *PARTS):
        convert_part(old, made)
    if old.problems:
        raise OldConfigError("\n  - ".join(("cannot be converted:", *dict.fromkeys(old.problems))))
    return made


def _ignored(old: OldKeys, made: Converted) -> None:
    """Which value is not judged is a matter of the JSON file; 255 where it says nothing."""
    manifest = old.read("dataset.json_file", text)
    for key in ("dataset.ignore_index", "training.loss.ignore_index"):
        value = old.read(key, whole(0), USUAL)
        if manifest is not None and value not in (USUAL, _stated(Path(manifest))):
            old.problems.append(f'{key}: write "ignore_index": {value} into {manifest} first')
        if key in old:
            made.left[key] = f"the JSON file says it; {USUAL} where it does not"


def _stated(manifest: Path) -> Any:
    try:
        found = json.loads(manifest.read_text())
    except (OSError, ValueError):
        return None
    return found.get("ignore_index") if isinstance(found, dict) else None


def _sizes(old: OldKeys, made: Converted) -> None:
    """Whole images at one size, of which transforms cut windows; the model is validated on them."""
    if CROP in old:
        made.put(CROP, "data.init_args.resize", old.read(CROP, whole(1)))
    if WHOLE in old:
        made.put(WHOLE, "model.tile", old.read(WHOLE, whole(1)))
        made.put(WHOLE, "model.mode", "resize")


def _device(old: OldKeys, made: Converted) -> None:
    amp, device = "training.use_amp", "system.device"
    if amp in old:  # bfloat16, which needs no scaling of the loss, for float16
        made.choose(amp, "trainer", "amp" if old.read(amp, switch) else "default")
    for key, value in (old.read(device, _trainer, {}) if device in old else {}).items():
        made.put(device, f"trainer.{key}", value)


def _trainer(value: Any) -> dict[str, Any]:
    try:
        return trainer_of(str(value))
    except ComposeError as error:
        raise ValueError("cpu, cuda, cuda:0 or mps") from error
