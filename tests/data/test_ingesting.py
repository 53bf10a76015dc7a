"""Folders of volumes become OME-Zarr and a database, once, whole or not at all."""

from __future__ import annotations

import numpy as np
import pytest
import sqlalchemy as sql
import tifffile

from microtome.cli import main
from microtome.data.databases import DataSchema, SQLDatabase, ingesting
from microtome.data.databases.ingesting import ingest
from microtome.data.folders import Folders
from microtome.data.records import ManifestError
from microtome.data.stores import ImageReadError, open_labels, open_source
from real_layouts import write_embryos

NAMES = r"(?P<specimen>Emb\d+)_t(?P<minute>\d+)"
SPACING = ["--spacing_um", "1.75", "0.8", "0.8"]


def words(folder, *more):
    parts = [
        "--images",
        folder / "images",
        "--labels",
        folder / "labels",
        "--output",
        folder / "out",
    ]
    return ["ingest", *map(str, parts), *more]


def test_ingest_from_the_command_line(tmp_path, capsys):
    folder = write_embryos(tmp_path, (5, 12, 14), (1, 2), (201,))
    assert main(words(folder, "--names", NAMES, *SPACING)) == 0
    assert f"2 volumes: {folder / 'out' / 'volumes.sqlite'}" in capsys.readouterr().out
    database = SQLDatabase(str(folder / "out" / "volumes.sqlite"))
    columns = ("specimen", "minute", "spacing_z", "c", "dtype")
    rows = database.fetch("images", dict.fromkeys(columns))
    assert rows[0] == dict(zip(columns, ("Emb01", 201, 1.75, 1, "uint16"), strict=True))
    labels = tifffile.imread(folder / "labels" / "Emb01_t201.tif")
    (row, _) = database.fetch("labels", {"label_path": None, "objects": None, "z": None})
    assert (row["objects"], row["z"]) == (len(np.unique(labels)) - 1, 5)
    stored = open_labels(folder / "out" / row["label_path"])
    assert (stored.read((slice(0, 5), slice(0, 12), slice(0, 14))) == labels).all()
    image = open_source(folder / "out" / "volumes" / "Emb01_t201.zarr", channels="grey")
    assert (image.info.shape, image.info.spacing) == ((5, 12, 14), (1.75, 0.8, 0.8))


def test_it_goes_on_where_it_was_killed(tmp_path, monkeypatch):
    folder = write_embryos(tmp_path, (5, 12, 14), (1, 2), (201,))
    records = Folders(folder / "images", labels=folder / "labels").records()
    written, write = [], ingesting._write

    def once(*given):
        if written:
            (given[-1].parent / ".part" / given[-1].name).mkdir(parents=True)
            raise KeyboardInterrupt
        written.append(write(*given))

    monkeypatch.setattr(ingesting, "_write", once)
    with pytest.raises(KeyboardInterrupt):
        ingest(records, folder / "out")
    assert not (folder / "out" / "volumes.sqlite").exists()
    monkeypatch.setattr(ingesting, "_write", lambda *given: written.append(write(*given)))
    database = ingest(records, folder / "out")
    assert len(written) == 2
    assert len(SQLDatabase(str(database)).initialise(DataSchema("images"))) == 2
    with pytest.raises(FileExistsError, match="is there already"):
        ingest(records, folder / "out")


def test_what_is_wrong_is_told_before_anything_is_written(tmp_path, capsys):
    folder = write_embryos(tmp_path, (5, 12, 14), (1,), (201, 351))
    assert main(words(folder, "--names", r"(?P<specimen>Mouse\d+)")) == 2
    assert capsys.readouterr().err.count("does not fit") == 2
    assert main(words(folder, "--names", r"(?P<z>Emb\d+)")) == 2
    assert "the column z is taken" in capsys.readouterr().err
    assert main(words(folder, "--names", "(?P<specimen")) == 2
    assert "no regular expression" in capsys.readouterr().err
    (folder / "labels" / "Emb01_t201.tif").unlink()
    assert main(words(folder)) == 2
    assert "image without labels" in capsys.readouterr().err
    assert not (folder / "out").exists()


def test_labels_of_another_shape_are_refused(tmp_path):
    folder = write_embryos(tmp_path, (5, 12, 14), (1,), (201,))
    tifffile.imwrite(folder / "labels" / "Emb01_t201.tif", np.zeros((5, 12, 13), np.uint16))
    records = Folders(folder / "images", labels=folder / "labels").records()
    with pytest.raises(ImageReadError, match="5 x 12 x 13"):
        ingest(records, folder / "out")


def test_a_name_needs_a_bracket(tmp_path):
    folder = write_embryos(tmp_path, (5, 12, 14), (1,), (201,))
    with pytest.raises(ManifestError, match="names no bracket"):
        ingest(Folders(folder / "images").records(), folder / "out", names="Emb")


def test_images_without_labels_have_no_table_of_labels(tmp_path):
    folder = write_embryos(tmp_path, (5, 12, 14), (1,), (201,))
    database = ingest(Folders(folder / "images").records(), folder / "out")
    assert sql.inspect(sql.create_engine(f"sqlite:///{database}")).get_table_names() == ["images"]
