"""Files that are either whole or absent: temporary name beside the target, sync, rename, sha256.

The temporary file stands in the *target's* folder, so that the rename never crosses a file system
and a full disk or a kill leaves the previous file as it was. Nothing here imports torch.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MANIFEST = "MANIFEST.json"
PART = ".part-"


class CorruptFileError(Exception):
    """A file whose content is not what its manifest says, or that its manifest misses."""


@contextmanager
def whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary sibling of `path` (same suffix); sync and rename it on success.

    On any exception the temporary file is removed and `path` stays as it was.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{PART}{os.getpid()}-{target.name}")
    try:
        yield part
        with part.open("rb") as f:
            os.fsync(f.fileno())
        part.replace(target)
        _sync_folder(target.parent)
    finally:
        part.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove temporary files that killed processes left in `folder`; those of living ones stay."""
    for part in folder.glob(f"{PART}*"):
        pid = part.name.removeprefix(PART).split("-", 1)[0]
        if not (pid.isdigit() and _alive(int(pid))):
            part.unlink(missing_ok=True)


def sha256(path: Path) -> str:
    """Return the hexadecimal sha256 of a file, read in blocks."""
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def seal_file(path: Path) -> None:
    """Write `NAME.sha256` beside a file, in the format of sha256sum."""
    with whole(path.with_name(path.name + ".sha256")) as part:
        part.write_text(f"{sha256(path)}  {path.name}\n")


def verify_file(path: Path) -> None:
    """Check a file against `NAME.sha256` beside it, where there is one.

    Raises CorruptFileError when they differ.
    """
    seal = path.with_name(path.name + ".sha256")
    if seal.exists() and seal.read_text().split()[0] != sha256(path):
        raise CorruptFileError(
            f"{path}: its sha256 is not the one in {seal.name}; the file is damaged or was changed"
        )


def seal(folder: Path) -> None:
    """Write MANIFEST.json: the sha256 of every file in `folder`."""
    names = sorted(p.name for p in folder.iterdir() if p.is_file() and p.name != MANIFEST)
    with whole(folder / MANIFEST) as part:
        part.write_text(json.dumps({n: sha256(folder / n) for n in names}, indent=1) + "\n")


def verify(folder: Path) -> None:
    """Check every file that MANIFEST.json names, where there is one.

    Raises CorruptFileError naming all files that are missing or differ.
    """
    manifest = folder / MANIFEST
    if not manifest.exists():
        return
    wrong = [n for n, want in json.loads(manifest.read_text()).items() if not _is(folder, n, want)]
    if wrong:
        raise CorruptFileError(f"{folder}: missing or not as in {MANIFEST}: {', '.join(wrong)}")


def _is(folder: Path, name: str, want: str) -> bool:
    path = folder / name
    return Path(name).name == name and path.is_file() and sha256(path) == want


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":  # Windows cannot open a folder for syncing
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it lives and is not ours
        return True
    return True
