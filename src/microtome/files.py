"""Files that are either whole or absent: temporary name beside the target, sync, rename, sha256.

The temporary file stands in the *target's* folder, so that the rename never crosses a file system
and a full disk or a kill leaves the previous file as it was. Nothing here imports torch.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
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


@contextmanager
def sealed(path: Path) -> Iterator[Path]:
    """Like `whole`, with `NAME.sha256` beside the file, in the format of sha256sum.

    While the file is being replaced the seal names both the new and the old content, so that a kill
    at any moment leaves a file that its seal confirms.
    """
    seal = _seal_of(path)
    old = seal.read_text() if seal.exists() and path.exists() else ""
    with whole(path) as part:
        yield part
        new = f"{sha256(part)}  {path.name}\n"
        _write(seal, new + old)
    _write(seal, new)


def verify_file(path: Path) -> None:
    """Check a file against `NAME.sha256` beside it, where there is one.

    Raises CorruptFileError when they differ.
    """
    seal = _seal_of(path)
    if not seal.exists():
        return
    confirmed = {line.split()[0] for line in seal.read_text().splitlines()}
    if sha256(path) not in confirmed:
        raise CorruptFileError(
            f"{path}: its sha256 is not the one in {seal.name}; the file is damaged or was changed"
        )


def seal(folder: Path, names: Sequence[str] | None = None) -> None:
    """Write MANIFEST.json: the sha256 of the named files, or of every file in `folder`."""
    if names is None:
        names = sorted(p.name for p in folder.iterdir() if p.is_file() and p.name != MANIFEST)
    _write(folder / MANIFEST, json.dumps({n: sha256(folder / n) for n in names}, indent=1) + "\n")


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


def _seal_of(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def _write(path: Path, text: str) -> None:
    with whole(path) as part:
        part.write_text(text)


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
