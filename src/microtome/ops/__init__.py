"""Operators: tensors in, tensors out, any number of axes, one folder each with its backends."""

from __future__ import annotations

# operator -> backend -> why it cannot be used here, "" when it can
BACKENDS: dict[str, dict[str, str]] = {"masks_to_boxes": {"reference": ""}}
