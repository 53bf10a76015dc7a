"""The compiled operators: one shared library of all `*/cpu.cpp`, built by `build`, loaded here."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path

import torch

__all__ = ["HOW_TO_BUILD", "LIBRARY", "built_with", "digest", "lacking", "sources"]

ROOM = Path(__file__).parent
LIBRARY = ROOM / "_compiled" / "microtome_ops.so"
STAMP = LIBRARY.with_suffix(".json")
HOW_TO_BUILD = "python -m microtome.ops.build"


@cache
def lacking() -> str:
    """Load the library, once; say why it cannot be used, "" when it can."""
    if not LIBRARY.exists() or not built_with():
        return f"not built; type: {HOW_TO_BUILD}"
    if built_with().get("sources") != digest(sources()):
        return f"built from other sources; type: {HOW_TO_BUILD}"
    try:
        torch.ops.load_library(str(LIBRARY))
    except OSError as error:
        return f"does not load ({error}); type: {HOW_TO_BUILD}"
    return ""


def sources() -> list[Path]:
    """All files it is made of, in one order everywhere."""
    return sorted([*ROOM.glob("*.h"), *ROOM.glob("*/*.h"), *ROOM.glob("*/*.cpp")])


def digest(files: list[Path]) -> str:
    """Of names and contents."""
    total = hashlib.sha256()
    for file in files:
        total.update(file.relative_to(ROOM).as_posix().encode() + b"\0" + file.read_bytes())
    return total.hexdigest()


def built_with() -> dict[str, str]:
    """What the library says of itself: `sources`, `torch`, `compiler`; empty when there is none."""
    try:
        told = json.loads(STAMP.read_text())
    except (FileNotFoundError, ValueError):  # none, or one that was cut
        return {}
    return told if isinstance(told, dict) else {}
