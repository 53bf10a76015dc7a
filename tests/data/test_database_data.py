"""A database behind Lightning's loaders: splits by specimen, kept and checked."""

from __future__ import annotations

import json

import pytest
import torch
import yaml

from microtome.data.database_data import DatabaseData
from microtome.data.databases import DatabaseError, DataSchema, LabelSchema, SQLDatabase
from microtome.data.databases.ingesting import ingest
from microtome.data.folders import Folders
from microtome.data.manifest import read_manifest
from microtome.data.records import ManifestError
from microtome.training.parser import build_data
from real_layouts import write_embryos

NAMES = r"(?P<specimen>Emb\d+)_t(?P<minute>\d+)"


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    folder = write_embryos(tmp_path_factory.mktemp("embryos"), specimens=(1, 2, 4, 5))
    records = Folders(folder / "images", labels=folder / "labels").records()
    return str(ingest(records, folder / "out", names=NAMES, spacing=(1.75, 0.8, 0.8)))


def made(database, split=None, **options):
    return DatabaseData(
        SQLDatabase(database),
        DataSchema("images"),
        LabelSchema("labels"),
        split=split or {"val": {"groups": ["Emb02"]}, "test": {"fraction": 0.25}, "seed": 0},
        **{"group": "specimen", "batch_size": 2, "workers": 0, **options},
    )


def groups(data):
    return {name: {r.group for r in part.records} for name, part in data.splits.items()}


def test_specimens_are_never_torn_apart(database):
    found = groups(made(database))
    assert found["val"] == {"Emb02"}
    assert len(found["test"]) == 1
    assert len(found["train"]) == 2
    assert not found["train"] & found["test"]
    assert found == groups(made(database))  # the seed decides
    seeds = [made(database, {"val": {"fraction": 0.25}, "seed": s}) for s in range(8)]
    assert len({str(groups(data)["val"]) for data in seeds}) > 1


def test_time_points_of_one_image_do_not_validate_each_other(database):
    with pytest.raises(ManifestError, match="group 'Emb09' is not known"):
        made(database, {"val": {"groups": ["Emb09"]}})
    with pytest.raises(ManifestError, match="group Emb05 is in train and val"):
        made(database, {"val": {"last": 1}})


def test_training_crops_whole_volumes_and_validation_sees_tiles(database):
    data = made(database, crop=[4, 8, 8], tile=[9, 12, 28], crops_per_image=3)
    assert [len(part) for part in data.splits.values()] == [4, 4, 4]
    (batch, *_) = data.train_dataloader()
    assert [sample.shape for sample in batch] == [(4, 8, 8)] * 2
    assert len(data.train_dataloader()) == 4 * 3 // 2
    assert [batch[0].shape for batch in data.val_dataloader()] == [(9, 12, 28)] * 4
    assert data.usage()["channels"] == "grey"
    assert data.usage()["spacing"] == (1.75, 0.8, 0.8)


def test_without_a_crop_it_trains_on_tiles(database):
    data = made(database, tile=[5, 24, 28])
    assert sorted(sample.shape for batch in data.train_dataloader() for sample in batch) == [
        *[(4, 24, 28)] * 4,
        *[(5, 24, 28)] * 4,
    ]


def test_resumed_in_the_middle_it_draws_the_same(database):
    def rest(state=None, skip=0):
        loader = made(database, crop=[4, 8, 8], crops_per_image=2, seed=3).train_dataloader()
        if state:
            loader.load_state_dict(state)
        return [sample.image for batch in list(loader)[skip:] for sample in batch]

    through, resumed = rest(skip=2), rest({"epoch": 0, "given": 2})
    assert len(through) == len(resumed) == 4
    assert all(torch.equal(a, b) for a, b in zip(through, resumed, strict=True))


def test_the_report_counts_what_is_there(database):
    report = made(database, crop=[4, 8, 8], tile=[9, 12, 28]).inspect()
    assert report.problems == ()
    assert (report.splits["train"].images, report.splits["val"].images) == (4, 4)
    assert sum(report.splits["train"].pixels) == 4 * 9 * 24 * 28
    assert max(report.splits["train"].objects) == 3


def test_the_split_is_kept_as_a_manifest(database, tmp_path):
    data = made(database)
    data.write(tmp_path)
    kept = read_manifest(tmp_path / "data.json")
    assert {n: [r.group for r in rows] for n, rows in kept.splits.items()} == {
        name: [r.group for r in part.records] for name, part in data.splits.items()
    }
    first = json.loads((tmp_path / "data.json").read_text())["data"]["train"][0]
    assert first["spacing_um"] == [1.75, 0.8, 0.8]
    assert kept.splits["train"][0].image.exists()


YAML = """
class_path: microtome.data.database_data.DatabaseData
init_args:
  database:
    class_path: microtome.data.databases.SQLDatabase
    init_args: {url: %s}
  images:
    table: images
    acquisition_metadata: {minute: [[200, 300], BETWEEN], specimen: [Emb0_, LIKE]}
  labels:
    table: labels
    label_metadata: {objects: [1, GREATER_THAN_OR_EQUAL]}
  group: specimen
  split: {val: {groups: [Emb02]}}
  tile: [9, 12, 28]
  cache: %s
"""


def test_conditions_in_yaml(database, tmp_path, monkeypatch):
    cache = tmp_path / "tiles.parquet"
    config = yaml.safe_load(YAML % (database, cache))
    data = build_data({"data": config})
    assert {r.name for part in data.splits.values() for r in part.records} == {
        f"Emb0{i}_t201" for i in (1, 2, 4, 5)
    }
    assert cache.exists()
    monkeypatch.chdir(tmp_path)
    options = config["init_args"] | {"cache": "tiles.parquet"}
    assert data.located(options)["cache"] == str(cache)
    assert data.located(options)["database"]["init_args"]["url"] == database


def test_a_question_without_an_answer_is_an_error(database):
    with pytest.raises(DatabaseError, match="no row of images satisfies the conditions"):
        DatabaseData(
            SQLDatabase(database),
            DataSchema("images", {"minute": [9, "LESS_THAN"]}),
            split={"val": {"last": 1}},
        )
