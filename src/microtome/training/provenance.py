"""Where a run comes from: versions and the state of the working copy."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("microtome", "torch", "lightning", "timm", "monai", "numpy")


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that shape a result."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def git_state() -> str | None:
    """Return the commit of the current folder, `+` when it has changes; None outside git."""
    commit = _git("rev-parse", "HEAD")
    if commit is None:
        return None
    return commit + ("+" if _git("status", "--porcelain") else "")


def _git(*words: str) -> str | None:
    try:
        done = subprocess.run(["git", *words], capture_output=True, text=True, timeout=10)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
