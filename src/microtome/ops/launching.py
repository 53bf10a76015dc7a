"""What Triton needs to launch a kernel: itself, and, at the first launch, a C compiler."""

from __future__ import annotations

import os
import shutil
import sysconfig
from functools import cache
from importlib.util import find_spec
from pathlib import Path

__all__ = ["c_compiler", "lacking"]


def c_compiler() -> str | None:
    """Path of the one that Triton takes, `$CC` first."""
    names = [os.environ.get("CC", ""), "gcc", "clang"]
    return next((found for name in names if name and (found := shutil.which(name))), None)


@cache
def lacking() -> str:
    """Say what is missing and what to type, "" when nothing is."""
    if find_spec("triton") is None:
        return "Triton is missing; torch's builds for CUDA bring it"
    missing = []
    if c_compiler() is None:
        missing.append("a C compiler (apt install gcc)")
    header = Path(sysconfig.get_path("include")) / "Python.h"
    if not header.exists():
        missing.append(f"{header} (apt install python3-dev)")
    return "Triton needs " + " and ".join(missing) if missing else ""
