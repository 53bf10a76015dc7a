"""Tables of images, label maps and a view, the same in SQLite and in PostgreSQL."""

from __future__ import annotations

import sqlalchemy as sql

IMAGES = (
    "img_id",
    "img_path",
    "t",
    "z",
    "y",
    "x",
    "stage",
    "snr",
    "frames",
    "good",
    "taken",
    "notes",
)
TIMES = {  # 1 and 2 are the same moment; 3 has no zone, so it is in UTC
    1: "2024-05-01 12:00:00+00:00",
    2: "2024-05-01 14:00:00+02:00",
    3: "2024-05-01 12:30:00",
    4: "2024-05-01 23:59:59.250000-05:00",
}
ROWS = [
    (1, "a.tif", 1, 5, 6, 7, "early", 0.5, 10, True, TIMES[1], '{"who": "Ada"}'),
    (2, "b.tif", 1, 5, 6, 7, "Early", 1.5, 20, False, TIMES[2], None),
    (3, "c_1.tif", 2, 4, 6, 7, "late", 2.5, 30, True, TIMES[3], None),
    (4, "c%1.tif", 1, None, 6, 7, "Über", None, 40, None, TIMES[4], None),
    (5, "d[1].tif", 1, 5, 6, 7, None, 3.5, None, True, None, None),
]
LABELS = [
    (10, 1, "l1.tif", 0, 1, 5, 6, 7, "gold"),
    (11, 1, "l1b.tif", 0, 1, 5, 6, 7, "draft"),
    (12, 3, "l3.tif", 1, 2, 4, 6, 7, "gold"),
]


def fill(engine):
    sqlite = engine.dialect.name == "sqlite"
    moment = "TIMESTAMP" if sqlite else "TIMESTAMP WITH TIME ZONE"
    text = "TEXT" if sqlite else 'TEXT COLLATE "en-x-icu"'  # a < E in its order
    create = (
        f"CREATE TABLE images (img_id INTEGER PRIMARY KEY, img_path TEXT, t INTEGER, z INTEGER, "
        f"y INTEGER, x INTEGER, stage {text}, snr DOUBLE PRECISION, frames INTEGER, good BOOLEAN, "
        f"taken {moment}, notes JSON, made TIMESTAMP)",
        "CREATE TABLE labels (label_id INTEGER PRIMARY KEY, img_id INTEGER, label_path TEXT, "
        "t0 INTEGER, t1 INTEGER, z INTEGER, y INTEGER, x INTEGER, kind TEXT)",
        "CREATE VIEW best AS SELECT * FROM images WHERE snr > 1",
    )
    with engine.begin() as connection:
        if not sqlite:  # else it takes times without a zone for those of its own
            connection.execute(sql.text("SET TIME ZONE 'UTC'"))
        for statement in create:
            connection.execute(sql.text(statement))
        names = [*(f":{name}" for name in IMAGES), "'2024-05-01 12:30:00'"]
        insert = sql.text(f"INSERT INTO images VALUES ({', '.join(names)})")
        for row in ROWS:
            connection.execute(insert, dict(zip(IMAGES, row, strict=True)))
        places = ", ".join(f":v{i}" for i in range(9))
        for row in LABELS:
            named = {f"v{i}": value for i, value in enumerate(row)}
            connection.execute(sql.text(f"INSERT INTO labels VALUES ({places})"), named)
