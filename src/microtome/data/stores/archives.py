"""Paths that go through a zip file, such as `ADE.zip/images/1.jpg`: read without unpacking.

Each process opens an archive of its own, when it first reads from it, so that neither forked nor
spawned loader processes share a file position. The whole table of an archive is checked when it is
opened; nothing is ever written to disk.
"""

from __future__ import annotations

import io
import os
import re
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from .source import ImageReadError

MAX_MEMBER = 1 << 30  # bytes of one member, held in memory
MAX_RATIO = 1100  # deflate cannot reach 1033
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1
_OUTSIDE = re.compile(r"^[A-Za-z]:|[\\\0]")  # a drive; what Windows takes for a slash
_LISTED = 5  # problems told of one archive


class Archive(NamedTuple):
    """A checked archive.

    Attributes:
        handle: for reading; of this process only.
        members: its files by name, in the order of their names.
    """

    handle: zipfile.ZipFile
    members: dict[str, zipfile.ZipInfo]


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """Open a file, or a member of a zip file, for reading bytes.

    Raises ImageReadError for archives and members that are refused or not there; a damaged member
    raises what `zipfile` raises.
    """
    inside = _inside(path)
    if inside is None:
        with path.open("rb") as file:
            yield file
        return
    yield io.BytesIO(_member(path, *inside))


def text_of(path: Path, most: int = 1 << 24) -> str:
    """The text of a file or member, UTF-8, of at most `most` bytes.

    Raises ImageReadError for what is not there, larger, or no text.
    """
    size = size_of(path)
    if size is None or size > most:
        raise ImageReadError(path, "no such file" if size is None else f"has {size:,} bytes")
    try:
        with opened(path) as file:
            return file.read().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError, zipfile.BadZipFile, zlib.error) as error:
        raise ImageReadError(path, f"cannot be read ({error})") from None


def size_of(path: Path) -> int | None:
    """Bytes of a file or member (unpacked), None when there is none."""
    inside = _inside(path)
    if inside is None:
        return path.stat().st_size if path.is_file() else None
    info = _archive(inside[0]).members.get(inside[1])
    return None if info is None else info.file_size


def is_folder(path: Path) -> bool:
    """Whether a path is a folder, or one inside a zip file, or a zip file."""
    inside = _inside(path)
    return path.is_dir() if inside is None else any(True for _ in _names_below(*inside))


def files_below(folder: Path) -> Iterator[Path]:
    """Every file in all depths below a folder, or below one inside a zip file."""
    inside = _inside(folder)
    if inside is None:
        yield from (path for path in folder.rglob("*") if path.is_file())
    else:
        yield from (inside[0] / name for name in _names_below(*inside))


def check_archive(archive: Path) -> int:
    """Check every name, size and kind in a zip file; return how many files it holds.

    Raises ImageReadError listing what is wrong.
    """
    members = _archive(archive).members
    _refuse(archive, [f"{n!r}: {why}" for n, info in members.items() if (why := _locked(info))])
    return len(members)


def _inside(path: Path) -> tuple[Path, str] | None:
    """The archive that a path goes through and the name in it; None for an ordinary path."""
    for archive in (path, *path.parents):
        if archive.suffix.lower() == ".zip" and archive.is_file():
            name = path.relative_to(archive).as_posix()
            return archive, "" if name == "." else name
    return None


def _names_below(archive: Path, folder: str) -> Iterator[str]:
    start = f"{folder}/" if folder else ""
    return (name for name in _archive(archive).members if name.startswith(start))


def _member(path: Path, archive: Path, name: str) -> bytes:
    table = _archive(archive)
    info = table.members.get(name)
    why = f"no such file in {archive.name}" if info is None else _locked(info)
    if info is None or why:
        raise ImageReadError(path, why or "")
    with table.handle.open(info) as member:
        return member.read(info.file_size)


def _archive(file: Path) -> Archive:
    found = file.stat()
    return _opened_once(str(file.absolute()), os.getpid(), found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=8)
def _opened_once(file: str, process: int, changed: int, size: int) -> Archive:
    """One handle per archive and process; a file that was replaced is opened anew."""
    try:
        handle = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise ImageReadError(file, f"is no zip file, or damaged ({error})") from None
    infos = [info for info in handle.infolist() if not info.is_dir()]
    wrong = [f"{info.filename!r}: {why}" for info in infos if (why := _escape(info))]
    members = {PurePosixPath(info.filename).as_posix(): info for info in infos}
    if len(members) < len(infos):
        wrong.append("holds two files of one name")
    if sum(info.compress_size for info in infos) > size:
        wrong.append("its files overlap: together they claim more bytes than it has")
    if wrong:
        handle.close()
    _refuse(file, wrong)
    return Archive(handle, dict(sorted(members.items())))


def _refuse(file: str | Path, wrong: list[str]) -> None:
    if wrong:
        more = f" and {len(wrong) - _LISTED} more" if len(wrong) > _LISTED else ""
        raise ImageReadError(file, "is refused: " + "; ".join(wrong[:_LISTED]) + more)


def _escape(info: zipfile.ZipInfo) -> str | None:
    """Why a member spoils the whole archive: it could lead out of it."""
    name = info.filename
    if name.startswith("/") or ".." in PurePosixPath(name).parts or _OUTSIDE.search(name):
        return "its name leads out of the archive"
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        return "is a link or a device"
    return None


def _locked(info: zipfile.ZipInfo) -> str | None:
    """Why a member is not unpacked: it could fill the memory, or needs what we do not have."""
    if info.flag_bits & _ENCRYPTED:
        return "is encrypted"
    if info.compress_type not in _METHODS:
        return "is compressed with another method than deflate; pack it again"
    if info.file_size > MAX_MEMBER or info.file_size > MAX_RATIO * max(info.compress_size, 1):
        return f"claims {info.file_size:,} bytes, packed in {info.compress_size:,}"
    return None
