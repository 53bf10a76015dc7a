"""`microtome download`: a public data set from where it is published."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from ..data.downloads import DownloadError, download
from ..data.public_sets import DATA_SETS
from . import refuse

DESCRIPTION = """Fetches a public data set from where it is published, goes on where an earlier
attempt was cut off, and checks size and hash. Nothing is unpacked: ADE20K is used as the zip file
it comes in, after every name and size in it was checked."""


def main(verb: str, args: list[str]) -> int:
    """Fetch, check, say what to type next."""
    parser = argparse.ArgumentParser(prog=f"microtome {verb}", description=DESCRIPTION)
    parser.add_argument("name", choices=sorted(DATA_SETS), metavar=" | ".join(sorted(DATA_SETS)))
    parser.add_argument("--output", type=Path, default=Path(), help="(default: the present folder)")
    given = parser.parse_args(args)
    data_set = DATA_SETS[given.name]
    print(f"terms      {data_set.terms}")
    console = Console()
    columns = (TextColumn("fetching"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    try:
        with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
            task = bar.add_task("", total=None)
            archive = download(
                data_set.file,
                given.output,
                lambda done, total: bar.update(task, completed=done, total=total),
            )
    except DownloadError as error:
        return refuse(str(error))
    return _told(archive, data_set.use)


def _told(archive: Path, use: str) -> int:
    if archive.suffix == ".zip":
        from ..data.stores import ImageReadError
        from ..data.stores.archives import check_archive

        try:
            print(f"checked    {check_archive(archive)} files in {archive}")
        except ImageReadError as error:
            return refuse(str(error))
    print(f"there      {archive}, {archive.stat().st_size:,} bytes")
    print(f"\ngo on with\n  {use.format(archive)}")
    return 0
