"""microtome cuts images of tissue, skin and cells into what they are made of.

Names are loaded when they are first used, so `import microtome` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_ROOMS = {
    "Classes": "structures",
    "DataSample": "structures",
    "Segmentation": "structures",
    "Segmenter": "models",
    "load_segmenter": "models",
    "evaluate": "evaluation",
    "open_source": "data.stores",
    "predict": "inference",
}
__all__ = [*_ROOMS]


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module 'microtome' has no attribute {name!r}; it has {__all__}")
    return getattr(importlib.import_module(f".{_ROOMS[name]}", __name__), name)
