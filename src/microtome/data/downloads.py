"""Public data sets fetched from where they are published; only `microtome download` comes here.

A download that was cut off goes on where it stopped. What arrives is checked against the published
size and hash before it gets its name, so a file that is there is whole.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from ..files import whole
from .public_sets import Published

BLOCK = 1 << 20
TIMEOUT = 60  # seconds without a byte
LISTING = 1 << 20  # bytes of a listing, at most
Progress = Callable[[int, int], None]


class DownloadError(Exception):
    """A download that did not succeed; the message says why, and what is left."""


def download(file: Published, folder: Path, progress: Progress = lambda done, total: None) -> Path:
    """Fetch a file into `folder`, unless it is there and as published.

    Args:
        file: what to fetch.
        folder: where to; made if it is not there.
        progress: called with (bytes there, bytes in all).

    Raises DownloadError; a part that is worth going on with stays.
    """
    target, part = folder / file.name, folder / f".part-{file.name}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if file.listing:
            file = _from_listing(file)
        if target.exists():
            _verify(target, file, "remove it to fetch it again")
            return target
        if not _is_published(part, file):
            _fetch(file, part, progress)
        try:
            _verify(part, file, "it was removed; try again")
        except DownloadError:
            part.unlink()
            raise
        with whole(target) as final:
            part.replace(final)
    except (OSError, HTTPException, ValueError) as error:
        raise DownloadError(f"{file.name}: {error or type(error).__name__}") from error
    return target


def _is_published(part: Path, file: Published) -> bool:
    """Whether a part is already all there is."""
    try:
        _verify(part, file, "")
    except (DownloadError, FileNotFoundError):
        return False
    return bool(file.hashes)


def _fetch(file: Published, part: Path, progress: Progress) -> None:
    """Append to `part` what is missing; start over where the server cannot go on."""
    have = part.stat().st_size if part.exists() else 0
    with _opened(file.url, have) as response:
        if response.status != 206:
            have = 0
        total = _total(file, response, have)
        if shutil.disk_usage(part.parent).free < total - have:
            raise DownloadError(
                f"{file.name}: {part.parent} has no room for {total - have:,} bytes"
            )
        with part.open("r+b" if have else "wb") as out:
            out.seek(have)
            while block := response.read(min(BLOCK, total - have + 1)):
                have += len(block)
                if have > total:
                    raise DownloadError(f"{file.name}: the server sends more than it announced")
                out.write(block)
                progress(have, total)
    if have < total:
        raise DownloadError(
            f"{file.name}: the connection ended after {have:,} of {total:,} bytes; "
            "the same command goes on there"
        )


def _opened(url: str, start: int = 0) -> HTTPResponse:
    """A response from `start` on, or from the beginning; by http or https, whatever redirects."""
    _check_scheme(url)
    request = Request(url, headers={"User-Agent": "microtome", "Accept-Encoding": "identity"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    try:
        response: HTTPResponse = urlopen(request, timeout=TIMEOUT)
    except HTTPError as error:
        error.close()
        if error.code == 416:  # nothing is left to send: the part is whole, or not of this file
            return _opened(url)
        raise DownloadError(f"{url}: the server answers {error.code} {error.reason}") from None
    try:
        _check_scheme(response.url)
    except DownloadError:
        response.close()
        raise
    return response


def _check_scheme(url: str) -> None:
    if urlsplit(url).scheme not in ("http", "https"):
        raise DownloadError(f"{url}: expected an address that starts with http:// or https://")


def _total(file: Published, response: HTTPResponse, have: int) -> int:
    """Bytes of the whole file, as the server says; they must be those published."""
    if have:
        at, _, said = (response.headers.get("Content-Range") or "").partition("/")
        if not at.startswith(f"bytes {have}-"):
            raise DownloadError(f"{file.name}: the server went on somewhere else ({at})")
    else:
        said = response.headers.get("Content-Length") or ""
    if not said.isdigit():
        raise DownloadError(f"{file.name}: the server does not say how large the file is")
    if file.size not in (None, int(said)):
        raise DownloadError(f"{file.name}: has {int(said):,} bytes, published were {file.size:,}")
    return int(said)


def _verify(path: Path, file: Published, then: str) -> None:
    for algorithm, published in file.hashes.items():
        with path.open("rb") as opened:
            found = hashlib.file_digest(opened, algorithm).hexdigest()
        if found != published:
            raise DownloadError(
                f"{path}: its {algorithm} is {found}, published is {published}; {then}"
            )


def _from_listing(file: Published) -> Published:
    """Ask figshare for address, size and md5 of the file of this name."""
    with _opened(file.listing) as response:
        text = response.read(LISTING + 1)
    if len(text) > LISTING:
        raise DownloadError(f"{file.listing}: the listing is too large")
    listed: dict[str, Any] = json.loads(text)
    try:
        found = next(f for f in listed["files"] if f["name"] == file.name)
        url, size, md5 = str(found["download_url"]), int(found["size"]), str(found["computed_md5"])
    except (LookupError, TypeError, StopIteration) as error:
        raise DownloadError(f"{file.listing}: {file.name} is not listed ({error!r})") from None
    return Published(file.name, url, {"md5": md5}, size)
