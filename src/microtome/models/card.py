"""The model card: what a person has to know before using a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ..backbones.licences import warning
from ..structures import Classes
from .usage import Usage


class Facts(NamedTuple):
    """What a card tells of a segmenter."""

    classes: Classes
    backbone: str
    origin: Mapping[str, str]
    head: str
    parameters: int
    in_channels: int
    spatial_dims: int
    normalisation: str
    usage: Usage


def model_card(facts: Facts) -> str:
    """Markdown, with the front matter that the Hugging Face hub reads."""
    usage, axes = facts.usage, ", ".join("zyx"[-facts.spatial_dims :])
    spacing = f"{list(usage.spacing)} µm per pixel" if usage.spacing else "not recorded"
    made_for = facts.origin.get("um_per_px")
    tiles = (
        f"tiles of {usage.tile} pixels, overlap {usage.overlap:g}"
        if usage.mode == "sliding"
        else f"resized to {usage.tile} pixels"
    )
    rows = [
        ("Input", f"{facts.in_channels} channels (`{usage.channels}`), axes {axes}"),
        ("Normalisation", f"`{facts.normalisation}`"),
        ("Black and white", f"{usage.levels}" if usage.levels else "from the image type"),
        ("Spacing in training", spacing),
        ("Prediction", tiles),
        ("Model", f"{facts.backbone} with {facts.head}, {facts.parameters:,} parameters"),
        ("Encoder weights", _origin(facts.origin)),
        *([("Encoder made for", f"{made_for} µm per pixel")] if made_for else []),
    ]
    return _TEMPLATE.format(
        classes="\n".join(_class_row(facts.classes, i) for i in range(facts.classes.num_classes)),
        ignored=facts.classes.ignore_index,
        rows="\n".join(f"| {name} | {text} |" for name, text in rows),
        warning=f"\n**{told}**\n" if (told := _warning(facts.origin)) else "",
    )


def _class_row(classes: Classes, index: int) -> str:
    red, green, blue = classes.palette[index]
    return f"| {index} | {classes.names[index]} | #{red:02x}{green:02x}{blue:02x} |"


def _origin(origin: Mapping[str, str]) -> str:
    if not origin:
        return "none: trained from random weights"
    return f"{origin['name']} ({origin['weights']}), licence: {origin['licence']}"


def _warning(origin: Mapping[str, str]) -> str | None:
    return warning(origin["licence"]) if origin else None


_TEMPLATE = """---
library_name: microtome
pipeline_tag: image-segmentation
---

# Segmentation model

| class | name | colour |
|---|---|---|
{classes}

Pixels of value {ignored} were not judged in training.

| | |
|---|---|
{rows}
{warning}
```python
from microtome import Segmenter

model = Segmenter.from_pretrained("FOLDER")
classes = model.predict("image.png").classes
```

Not a medical device; say here on which images it was trained and how well it did.
"""
