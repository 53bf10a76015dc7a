"""Volumes that a metadata database names, split by specimen, as training data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..structures import Classes
from .databases import Database, DataSchema, LabelSchema
from .databases.joining import whole_volumes
from .datamodule import DataModule
from .manifest import write_manifest
from .records import Catalogue, Reading
from .splits import split_by_group
from .stores.channels import ChannelPolicy
from .stores.decoded import Levels
from .volume_dataset import VolumeDataset, record_of, volume_of


class DatabaseData(DataModule):
    """Volumes with label maps, chosen by conditions on a database of their metadata.

    With `crop`, training reads random windows of whole volumes, and only those; validation reads
    tiles.

    Args:
        database: where the tables are.
        images: the table of images and the conditions on it.
        labels: the table of label maps and the conditions on it.
        split: as in a manifest: `{val: [Emb05], test: 0.2, seed: 0}`.
        group: the column of what must not be torn apart, such as the specimen; without it images
            of one name are not.
        class_names: what pixels outside and inside of objects are.
        tile: pixels of a validation tile, one value or one per axis; whole volumes without it.
            Without `crop` it is also what is trained on.
        cache: a Parquet file that keeps the table of tiles as long as question and database are
            the same.
        channels: how channels are read.
        levels: raw black and white; measured per volume without them.
        spacing_um: micrometres per pixel, one or one per axis, where neither table nor file say it.
        options: as for DataModule.

    Raises DatabaseError listing everything wrong with the question, ManifestError for a split that
    is impossible or would score what was learnt.
    """

    def __init__(
        self,
        database: Database,
        images: DataSchema,
        labels: LabelSchema | None = None,
        *,
        split: dict[str, Any],
        group: str | None = None,
        class_names: Sequence[str] = ("background", "object"),
        tile: int | list[int] | None = None,
        cache: str | None = None,
        channels: ChannelPolicy = "grey",
        levels: Levels | None = None,
        spacing_um: float | list[float] | None = None,
        **options: Any,
    ) -> None:
        if len(class_names) != 2:
            raise ValueError(f"class_names: expected outside and inside, got {list(class_names)}")
        self.database = database
        rows = database.initialise(
            images,
            labels,
            tile=tile,
            select=() if group is None else (group,),
            cache=None if cache is None else Path(cache),
        )
        spacing = tuple(spacing_um) if isinstance(spacing_um, list) else spacing_um
        reading = Reading(channels, levels, spacing)
        classes = Classes(tuple(class_names), things=(False, True))
        records = {volume_of(row): record_of(row, database.root, group) for row in rows}
        chosen = {name: rule for name, rule in split.items() if name != "seed"}
        splits = split_by_group(list(records.values()), chosen, split.get("seed", 0))
        self.catalogue = Catalogue(classes, splits, reading)

        def part(name: str) -> VolumeDataset:
            inside = set(splits[name])
            kept = [row for row in rows if records[volume_of(row)] in inside]
            if name == "train" and options.get("crop") is not None:
                kept = whole_volumes(kept)
            return VolumeDataset(kept, classes, reading, database.root, group)

        test = part("test") if splits["test"] else None
        super().__init__(part("train"), part("val"), test, **options)

    def usage(self) -> dict[str, Any]:
        """How the files are read."""
        reading = self.catalogue.reading
        return super().usage() | {"channels": reading.channels, "levels": reading.levels}

    def located(self, options: dict[str, Any]) -> dict[str, Any]:
        """The same arguments with absolute paths."""
        given, cache = options["database"], options.get("cache")
        database = given | {"init_args": self.database.located(given["init_args"])}
        cache = None if cache is None else str(Path(cache).absolute())
        return options | {"database": database, "cache": cache}

    def write(self, folder: Path) -> None:
        """Write `data.json`: a manifest with every volume of every split."""
        write_manifest(self.catalogue, folder / "data.json")
