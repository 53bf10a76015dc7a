"""One suite on SQLite and on a real PostgreSQL: the same question has the same answer."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime

import postgresql_server
import pytest
import sqlalchemy as sql
import yaml
from filled_database import fill

from microtome.data.databases import (
    Comparator,
    DatabaseError,
    DataSchema,
    LabelSchema,
    SQLDatabase,
)
from microtome.data.databases.conditions import condition

POSTGRESQL = pytest.param("postgresql", marks=pytest.mark.slow)


@pytest.fixture(scope="module", params=["sqlite", POSTGRESQL])
def server(request, tmp_path_factory):
    """(URL, engine that may write) of a filled database."""
    if request.param == "sqlite":
        file = tmp_path_factory.mktemp("database") / "volumes.sqlite"
        engine = sql.create_engine(f"sqlite:///{file}", poolclass=sql.pool.NullPool)
        fill(engine)
        yield str(file), engine
        return
    with postgresql_server.running() as url, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PGPASSWORD", postgresql_server.PASSWORD)
        address = url.replace("$PGPASSWORD", postgresql_server.PASSWORD)
        address = address.replace("postgresql://", "postgresql+pg8000://")
        engine = sql.create_engine(address, poolclass=sql.pool.NullPool)
        fill(engine)
        yield url, engine


@pytest.fixture
def database(server):
    return SQLDatabase(server[0])


ASKED = [  # YAML, and the images that satisfy it
    ("stage: [early, EQUAL]", {1}),
    ("stage: [early, NOT_EQUAL]", {2, 3, 4}),
    ("snr: [1.5, GREATER_THAN]", {3, 5}),
    ("snr: [1.5, GREATER_THAN_OR_EQUAL]", {2, 3, 5}),
    ("snr: [2.5, LESS_THAN]", {1, 2}),
    ("snr: [2.5, LESS_THAN_OR_EQUAL]", {1, 2, 3}),
    ("frames: [[10, 40, 50], IN]", {1, 4}),
    ("frames: [[10, 40], NOT_IN]", {2, 3}),
    ("frames: [[], NOT_IN]", {1, 2, 3, 4}),
    ("frames: [[20, 30], BETWEEN]", {2, 3}),
    ("stage: IS_NULL", {5}),
    ("stage: [null, IS_NULL]", {5}),
    ("stage: is_not_null", {1, 2, 3, 4}),
    ("stage: ", {1, 2, 3, 4, 5}),
    ("stage: [ea%, LIKE]", {1}),  # not Early
    ("stage: [_ber, LIKE]", {4}),  # one character, not one byte
    ("stage: [ü%, LIKE]", set()),
    ("img_path: ['c\\_1.tif', LIKE]", {3}),
    ("img_path: ['c\\%1%', LIKE]", {4}),
    ("img_path: ['d[1]%', LIKE]", {5}),  # no brackets of SQLite's
    ("stage: [a, GREATER_THAN]", {1, 3, 4}),  # by code point: E < a < e < Ü
    ("stage: [[E, a], BETWEEN]", {2}),
    ('stage: ["x\' OR 1=1 --", EQUAL]', set()),
    ("good: [true, EQUAL]", {1, 3, 5}),
    ("good: [false, EQUAL]", {2}),
    ("taken: ['2024-05-01 12:00', EQUAL]", {1, 2}),
    ("taken: ['2024-05-01T13:00+01:00', EQUAL]", {1, 2}),
    ("taken: [2024-05-01 12:00:00, GREATER_THAN]", {3, 4}),
    ("taken: [2024-05-02, GREATER_THAN]", {4}),
    ("taken: [['2024-05-02T04:59:59.250Z'], IN]", {4}),
    ("taken: [['2024-05-01 12:10', '2024-05-01 12:30'], BETWEEN]", {3}),
    ("{frames: [30, EQUAL], made: ['2024-05-01T14:30+02:00', EQUAL]}", {3}),
    ("{frames: [30, EQUAL], made: ['2024-05-01T14:30+03:00', EQUAL]}", set()),
    ("{stage: [[early, Early], IN], snr: [1, GREATER_THAN]}", {2}),
]


@pytest.mark.parametrize(("text", "expected"), ASKED, ids=[text for text, _ in ASKED])
def test_a_question_in_yaml(database, text, expected):
    schema = DataSchema("images", sample_metadata=yaml.safe_load(text))
    if not expected:
        with pytest.raises(DatabaseError, match="no row of images"):
            database.initialise(schema)
        return
    assert {row["img_id"] for row in database.initialise(schema)} == expected


def test_all_twelve_comparators_are_asked():
    asked = [condition(given) for text, _ in ASKED for given in yaml.safe_load(text).values()]
    assert {c.comparator for c in asked if c} == set(Comparator)
    assert len(Comparator) == 12


def test_values_come_back_plain_and_in_utc(database):
    schema = DataSchema(
        "images",
        data_attributes={"notes": None, "snr": (0.6, Comparator.LESS_THAN)},
        accquisition_metadata={"taken": None},
    )
    (row,) = database.initialise(schema)
    assert row["taken"] == datetime(2024, 5, 1, 12, tzinfo=UTC)
    assert row["taken"].utcoffset().total_seconds() == 0
    assert yaml.safe_load(row["notes"]) == {"who": "Ada"}
    assert (row["img_path"], row["z"], row["snr"]) == ("a.tif", 5, 0.5)


def test_tiles_with_labels(database):
    labels = LabelSchema("labels", {"kind": ["gold", "EQUAL"]})
    with_depth = DataSchema("images", {"z": "IS_NOT_NULL"})
    rows = database.initialise(with_depth, labels, tile=[3, 4, 7])
    places = [(r["img_id"], r["t0"], r["z0"], r["z1"], r["y0"], r["y1"]) for r in rows]
    assert places[:4] == [
        (1, 0, 0, 3, 0, 4),
        (1, 0, 0, 3, 4, 6),
        (1, 0, 3, 5, 0, 4),
        (1, 0, 3, 5, 4, 6),
    ]
    third = [(r["t0"], r["t1"], r["label_path"]) for r in rows if r["img_id"] == 3]
    assert third == [(0, 1, None)] * 4 + [(1, 2, "l3.tif")] * 4
    assert {r["label_path"] for r in rows if r["img_id"] == 1} == {"l1.tif"}


def test_one_size_fits_images_of_any_number_of_axes(database):
    rows = database.initialise(DataSchema("images"), tile=4)
    assert [(r["z0"], r["z1"], r["y1"]) for r in rows if r["img_id"] == 4][:3:2] == [
        (0, 1, 4),
        (0, 1, 6),
    ]
    with pytest.raises(DatabaseError, match="image 4 has 2 axes; tile: expected 1 or 2 values"):
        database.initialise(DataSchema("images"), tile=[4, 4, 4])


def test_two_labels_of_one_time_are_refused(database):
    with pytest.raises(DatabaseError, match=r"image 1 at time 0 has 2 label volumes"):
        database.initialise(DataSchema("images"), LabelSchema("labels"))


def test_a_view_is_asked_like_a_table(database):
    rows = database.initialise(DataSchema("best"))
    assert [(row["img_id"], row["t0"]) for row in rows] == [(2, 0), (3, 0), (3, 1), (5, 0)]


def test_every_mistake_is_listed(database):
    schema = DataSchema(
        "images",
        {"sne": None, "snr": ["high", "EQUAL"], "stage": [3, "LIKE"]},
        {"frames": ["x", "EQUAL"], "taken": ["soon", "LESS_THAN"]},
        {"stage": None, "good": [1, 2]},
    )
    with pytest.raises(DatabaseError) as caught:
        database.initialise(schema, LabelSchema("label"), select=["specimen"])
    for words in (
        "images.stage: LIKE takes text",
        "images.stage stands in two groups",
        "images.good: expected [value, COMPARATOR], got [1, 2]; the comparators are EQUAL, NOT_",
        "images: column 'sne' is not known; did you mean 'snr'?",
        "images: column 'specimen' is not known; there are: img_id, ",
        "table 'label' is not known; did you mean 'labels'?",
    ):
        assert words in str(caught.value)
    with pytest.raises(DatabaseError) as caught:
        database.initialise(
            DataSchema("images", {"snr": ["high", "EQUAL"], "frames": [[1.5], "IN"]})
        )
    assert "images.snr: the column holds numbers, got 'high'" in str(caught.value)
    assert "images.frames: the column holds int, got 1.5" in str(caught.value)


def test_columns_that_tiles_need_are_missed(database):
    with pytest.raises(DatabaseError, match="labels: column 'img_path' is not known"):
        database.initialise(DataSchema("labels"))


def test_names_are_never_sql(database):
    with pytest.raises(DatabaseError, match="is not known"):
        database.initialise(DataSchema("images; DROP TABLE images"))
    with pytest.raises(DatabaseError, match="is not known"):
        database.initialise(DataSchema("images", {"1 = 1 OR snr": [1, "EQUAL"]}))


def test_nothing_can_be_written(database):
    with pytest.raises(sql.exc.DBAPIError), database._engine.begin() as connection:
        connection.execute(sql.text("DELETE FROM labels"))


def test_it_pickles(database):
    again = pickle.loads(pickle.dumps(database))  # noqa: S301
    assert again.columns("labels") == database.columns("labels")
    assert again.root == database.root


def test_the_cache_holds_until_question_or_database_change(server, tmp_path, monkeypatch):
    url, writer = server
    file, schema = tmp_path / "cache" / "tiles.parquet", DataSchema("images", {"taken": None})
    first = SQLDatabase(url).initialise(schema, cache=file)
    asked = []
    monkeypatch.setattr(SQLDatabase, "fetch", lambda *a: asked.append(a) or _fetch(*a))
    assert SQLDatabase(url).initialise(schema, cache=file) == first
    assert not asked
    other = SQLDatabase(url).initialise(schema, tile=4, cache=file)
    assert len(asked) == 1
    assert len(other) > len(first)
    SQLDatabase(url).initialise(schema, cache=file)
    assert len(asked) == 2
    with writer.begin() as connection:
        connection.execute(sql.text("UPDATE images SET img_path = 'new.tif' WHERE img_id = 1"))
    changed = SQLDatabase(url).initialise(schema, cache=file)
    assert len(asked) == 3
    assert changed[0]["img_path"] == "new.tif"
    with writer.begin() as connection:
        connection.execute(sql.text("UPDATE images SET img_path = 'a.tif' WHERE img_id = 1"))


_fetch = SQLDatabase.fetch


def test_a_file_that_is_no_cache_is_not_overwritten(server, tmp_path):
    file = tmp_path / "precious.csv"
    file.write_text("1,2,3")
    with pytest.raises(OSError, match="the cache needs another name"):
        SQLDatabase(server[0]).initialise(DataSchema("images"), cache=file)
    assert file.read_text() == "1,2,3"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("none.sqlite", "no such file; expected a SQLite file or postgresql://"),
        ("mysql://u@host/d", "mysql is not supported; expected"),
        ("postgresql://u:hunter2@host/d", "the password would be kept in every checkpoint"),
        ("postgresql://u:$NO_SUCH_WORD@host/d", r"\$NO_SUCH_WORD is not set"),
    ],
)
def test_urls_that_are_refused(url, reason):
    with pytest.raises(DatabaseError, match=reason) as caught:
        SQLDatabase(url)
    assert "hunter2" not in str(caught.value)


def test_a_server_s_own_words_are_told(database):
    with (
        pytest.raises(DatabaseError, match=r"cannot be asked \(.*nonsense") as caught,
        database._asking() as connection,
    ):
        connection.execute(sql.text("SELECT nonsense"))
    assert "{" not in str(caught.value)


def test_a_server_that_does_not_answer_is_an_error_without_the_password(monkeypatch):
    monkeypatch.setenv("PGPASSWORD", "hunter2")
    database = SQLDatabase("postgresql://u:$PGPASSWORD@127.0.0.1:9/d")
    with pytest.raises(DatabaseError, match="cannot be asked") as caught:
        database.columns("images")
    assert "hunter2" not in str(caught.value)
