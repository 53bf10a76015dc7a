"""`microtome doctor`: what this machine has, what is missing, and what to type."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import tempfile
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path


def main(verb: str, args: list[str]) -> int:
    """Print the report; exit code 1 when something that training needs is missing."""
    parser = argparse.ArgumentParser(prog=f"microtome {verb}", description=__doc__)
    parser.parse_args(args)
    lacking = [
        line for section in (_versions, _devices, _operators, _folders) for line in section()
    ]
    print("\n" + ("\n".join(lacking) if lacking else "All is well."))
    return 1 if lacking else 0


def _versions() -> list[str]:
    print("versions")
    _line("python", f"{platform.python_version()} on {platform.platform()}")
    lacking = []
    for requirement in requires("microtome") or []:
        if "extra ==" in requirement:
            continue
        name = requirement.split(";")[0].split("[")[0].split(">")[0].split("=")[0].strip()
        try:
            _line(name, version(name))
        except PackageNotFoundError:
            _line(name, "MISSING")
            lacking.append(f"{name} is missing: pip install '{requirement}'")
    return lacking


def _devices() -> list[str]:
    import torch

    print("\ndevices")
    _line("cpu", f"{os.cpu_count()} cores, {torch.get_num_threads()} threads used, {_memory()}")
    lacking = []
    for i in range(torch.cuda.device_count()):
        card = torch.cuda.get_device_properties(i)
        bf16 = "bf16" if torch.cuda.is_bf16_supported() else "no bf16"
        _line(f"cuda:{i}", f"{card.name}, {card.total_memory / 2**30:.0f} GiB, {bf16}")
    if torch.version.cuda and not torch.cuda.is_available():
        _line(
            "cuda", f"torch was built for CUDA {torch.version.cuda}; no usable GPU or driver here"
        )
    if torch.backends.mps.is_available():
        _line("mps", "Apple GPU")
    if not torch.isfinite(torch.randn(8, 8) @ torch.randn(8, 8)).all():
        lacking.append(
            "matrix products are not finite: this torch build does not fit this processor"
        )
    return lacking


def _operators() -> list[str]:
    import torch

    from ..ops import BACKENDS

    print("\noperators (backend: usable, or why not)")
    for operator, backends in BACKENDS.items():
        here = dict(backends)
        if "gpu" in here and not torch.cuda.is_available():
            here["gpu"] = here["gpu"] or "no GPU here"
        _line(operator, "; ".join(f"{name}: {why or 'usable'}" for name, why in here.items()))
    _compiled_operators()
    _triton()
    return []


def _compiled_operators() -> None:
    import torch

    from ..ops.build import find_compiler
    from ..ops.library import HOW_TO_BUILD, built_with, lacking

    reason = lacking()
    if reason:
        compiler = find_compiler()
        need = "" if compiler else "; needs a C++ compiler first, for example: apt install g++"
        _line("C++ library", f"{reason}{need}")
        _line("", "without it operators on processors run as plain PyTorch, several times slower")
        return
    told = built_with()
    instructions = torch.backends.cpu.get_cpu_capability()
    _line("C++ library", f"built with torch {told['torch']}, {told['compiler']}; {instructions}")
    _line("", f"after a change of sources: {HOW_TO_BUILD}")


def _triton() -> None:
    """What GPU kernels need at their first launch, which is when Triton compiles them."""
    from ..ops import launching

    told = launching.lacking() or f"{version('triton')}, {launching.c_compiler()}, Python headers"
    _line("Triton", f"{told} (for GPU kernels)")


def _folders() -> list[str]:
    print("\nfolders")
    lacking = []
    for what, folder in {"here": Path.cwd(), "temporary": Path(tempfile.gettempdir())}.items():
        free = shutil.disk_usage(folder).free / 2**30
        _line(what, f"{folder}, {free:.1f} GiB free")
        if free < 1:
            lacking.append(f"{folder}: less than 1 GiB free; checkpoints may not fit")
        if not os.access(folder, os.W_OK):
            lacking.append(f"{folder}: not writable")
    cache = Path(os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface"))
    offline = ", offline" if os.environ.get("HF_HUB_OFFLINE") else ""
    _line("weights", f"{cache}{'' if cache.exists() else ' (empty)'}{offline}")
    return lacking


def _memory() -> str:
    try:
        pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
        free = os.sysconf("SC_AVPHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return "memory unknown"
    return f"{pages * size / 2**30:.0f} GiB memory, {free * size / 2**30:.0f} GiB free"


def _line(name: str, text: str) -> None:
    print(f"  {name:<18} {text}")
