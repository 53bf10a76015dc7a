"""`microtome ingest`: a folder of volumes becomes OME-Zarr and a database."""

from __future__ import annotations

import argparse
from pathlib import Path

from . import refuse

DESCRIPTION = r"""Writes OUTPUT/volumes.sqlite, a database with a row for each image and label map,
and OUTPUT/volumes/NAME.zarr, the volumes as OME-Zarr with their label maps. Label maps have the
names of their images. --names turns parts of the names into columns, for conditions and splits:
'(?P<specimen>Emb\d+)_t(?P<minute>\d+)'. Run again after it was stopped, it goes on."""


def main(verb: str, args: list[str]) -> int:
    """Pair the files, write everything, say what to type next."""
    parser = argparse.ArgumentParser(prog=f"microtome {verb}", description=DESCRIPTION)
    add = parser.add_argument
    add("--images", type=Path, required=True, metavar="DIR", help="TIFF, PNG, …")
    add("--labels", type=Path, metavar="DIR", help="label maps, an object's number in each pixel")
    add("--output", type=Path, required=True, metavar="DIR", help="where to write")
    add("--names", metavar="REGEX", help="each named bracket becomes a column")
    add("--spacing_um", type=float, nargs="+", metavar="µm", help="per pixel; one, or z y x")
    given = parser.parse_args(args)
    from ..data.databases.ingesting import ingest
    from ..data.folders import Folders
    from ..data.records import ManifestError
    from ..data.stores import ImageReadError
    from .speak import progress

    spacing = given.spacing_um
    try:
        records = Folders(given.images, labels=given.labels).records()
        with progress("writing volumes") as bar:
            task = bar.add_task("", total=len(records))
            database = ingest(
                records,
                given.output,
                names=given.names,
                spacing=spacing[0] if spacing and len(spacing) == 1 else spacing,
                progress=lambda done, total: bar.update(task, completed=done, total=total),
            )
    except (ManifestError, ImageReadError, ValueError, OSError) as error:
        return refuse(str(error))
    print(f"{len(records)} volumes: {database}")
    url = f"data.init_args.database.init_args.url={database}"
    print(f"\n  microtome fit --config lightsheet_unet {url}")
    return 0
