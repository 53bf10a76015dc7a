"""The JSON manifest: what it says, what is wrong with it, and back to a file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from microtome.data.manifest import located, parse_manifest, read_manifest, write_manifest
from microtome.data.records import Catalogue, ManifestError, Reading, Record, unique_names
from microtome.structures import Classes

SIMPLE = {
    "num_classes": 3,
    "data": {
        "train": [{"image_path": "images/1.jpg", "mask_path": "masks/1.png"}],
        "val": [{"image_path": "images/2.jpg", "mask_path": "masks/2.png"}],
        "test": [{"image_path": "/far/3.jpg", "mask_path": None}, {"image_path": "images/4.jpg"}],
    },
}


def written(tmp_path, text):
    path = tmp_path / "set.json"
    path.write_text(text if isinstance(text, str) else json.dumps(text))
    return path


def problems(description, root=Path()):
    with pytest.raises(ManifestError) as caught:
        parse_manifest(description, root)
    return "\n".join(caught.value.problems)


def test_the_plain_format(tmp_path):
    found = read_manifest(written(tmp_path, SIMPLE))
    assert found.classes == Classes(("class_0", "class_1", "class_2"))
    assert found.splits["train"] == (Record(tmp_path / "images/1.jpg", tmp_path / "masks/1.png"),)
    assert [r.mask for r in found.splits["test"]] == [None, None], "null and missing are the same"
    assert found.splits["test"][0].image == Path("/far/3.jpg")
    assert found.reading == Reading()


def test_every_option(tmp_path):
    entry = {"image_path": "a.tif", "labels_path": "l.tif", "group": 7, "spacing_um": [2, 1, 1]}
    found = parse_manifest(
        {
            "num_classes": 2,
            "class_names": ["background", "cell"],
            "colors": [[0, 0, 0], [255, 128, 0]],
            "ignore_index": 9,
            "mask_values": {"0": 0, "128": 9, "255": 1},
            "spacing_um": 0.5,
            "levels": [[0, 4095], [100, 900]],
            "channels": "as_is",
            "data": {"train": [entry]},
        },
        tmp_path,
    )
    colours = ((0, 0, 0), (255, 128, 0))
    assert found.classes == Classes(("background", "cell"), (False, True), colours, 9)
    levels = ((0, 4095), (100, 900))
    assert found.reading == Reading("as_is", levels, 0.5, {0: 0, 128: 9, 255: 1})
    expected = Record(tmp_path / "a.tif", None, tmp_path / "l.tif", "7", 1, (2, 1, 1))
    assert found.splits["train"] == (expected,), "objects without a mask are class 1"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '{"num_classes": 3,\n "data": {"train": [\n  {"image_path": "a"},\n ]}}',
            r"line [34], .*comma before '\]': remove the comma",
        ),
        ('{"num_classes": 3,}', r"line 1, .*comma before '}': remove the comma"),
        ('{"num_classes" 3}', r"line 1, column 16: not JSON"),
        ('{"data": {}, "data": {}}', "'data' stands twice"),
        ("[]", "expected an object"),
    ],
)
def test_json_mistakes_are_placed(tmp_path, text, message):
    with pytest.raises(ManifestError, match=r"set\.json.*" + message):
        read_manifest(written(tmp_path, text))
    with pytest.raises(ManifestError, match="cannot be read"):
        read_manifest(tmp_path / "none.json")


def test_all_problems_are_told_at_once():
    told = problems(
        {
            "num_clases": 3,
            "class_names": ["a", "a"],
            "ignore_index": 1,
            "mask_values": {"0": 5},
            "levels": [9, 1],
            "channels": "RGB",
            "spacing_um": 0,
            "data": {
                "trian": [],
                "train": [{"image_path": "a", "mask_pth": "b"}, {"mask_path": "c"}, "d"],
                "val": [{"image_path": "a", "group": [1], "value": True, "spacing_um": "x"}],
            },
        }
    )
    for expected in (
        "key 'num_clases' is not known; did you mean 'num_classes'?",
        "names repeat",
        "ignore_index 1 is also the class 'a'",
        "mask_values: 5 is neither a class (0 to 1)",
        "levels: expected [black, white]",
        "channels: expected rgb, grey, as_is",
        "spacing_um: expected micrometres",
        "split 'trian' is not known; did you mean 'train'?",
        "data.train[0]: key 'mask_pth' is not known; did you mean 'mask_path'?",
        "data.train[1]: image_path is missing",
        "data.train[2]: expected",
        "data.val[0]: group",
        "data.val[0]: value",
        "data.val[0]: expected micrometres",
    ):
        assert expected in told


@pytest.mark.parametrize(
    ("description", "message"),
    [
        ({"data": {}}, "num_classes: expected a number"),
        ({"num_classes": 2, "class_names": ["a"], "data": {}}, "num_classes is 2 but there are 1"),
        ({"num_classes": 2}, 'either "data" or "folders"'),
        ({"num_classes": 2, "data": {}, "folders": {}}, 'either "data" or "folders"'),
        ({"num_classes": 1, "data": {"val": [{"image_path": "a", "labels_path": "l"}]}}, "value 1"),
        ({"num_classes": 2, "colors": [[0, 0, 256]] * 2, "data": {}}, "colors"),
        ({"num_classes": 2, "data": {"train": {}}}, "data.train: expected a list"),
        ({"class_names": ["a", "b"], "things": ["c"], "data": {}}, "things: expected some of"),
        ({"num_classes": 2, "things": [], "data": {}}, "things: expected some of"),
        (
            {"class_names": ["a", "b"], "exclusive": False, "things": ["b"], "data": {}},
            "things: objects of classes that overlap",
        ),
    ],
)
def test_single_problems(description, message):
    assert message in problems(description)


def grades(tmp_path, separator=","):
    lines = ("name", "patient", "grade"), ("a", "1", "benign"), ("b.png", "2", "malignant")
    text = "\n".join(separator.join(line) for line in lines)
    (tmp_path / "grade.csv").write_text(text, encoding="utf-8-sig")
    values = {"benign": 1, "malignant": 2}
    return {"csv": "grade.csv", "key": "name", "column": "grade", "values": values}


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_classes_from_a_table(tmp_path, separator):
    entries = [
        {"image_path": "a.png", "labels_path": "la.png"},
        {"image_path": "b.png", "labels_path": "lb.png"},
        {"image_path": "c.png", "labels_path": "lc.png", "mask_path": "mc.png"},
        {"image_path": "d.png", "labels_path": "ld.png", "value": 0},
    ]
    description = {"num_classes": 3, "data": {"train": entries}}
    table = grades(tmp_path, separator)
    found = parse_manifest(description | {"class_table": table}, tmp_path)
    assert [r.value for r in found.splits["train"]] == [1, 2, None, 0]


def test_what_a_table_lacks_is_told(tmp_path):
    entry = {"image_path": "z.png", "labels_path": "l.png"}
    described = {"num_classes": 3, "data": {"train": [entry]}, "class_table": grades(tmp_path)}
    assert "z is not in the column 'name'" in problems(described, tmp_path)
    entry["image_path"], described["class_table"]["values"] = "b.png", {"benign": 1}
    assert "b: 'malignant' is none of class_table's values benign" in problems(described, tmp_path)
    described["class_table"]["column"] = "grades"
    assert "did you mean 'grade'?" in problems(described, tmp_path)
    described["class_table"]["csv"] = "none.csv"
    assert "cannot be read" in problems(described, tmp_path)
    (tmp_path / "grade.csv").write_text("name,grade\na,benign\na.png,malignant\n")
    described["class_table"] |= {"csv": "grade.csv", "column": "grade"}
    assert "'a' has the values 'benign' and 'malignant'" in problems(described, tmp_path)


def test_a_written_manifest_reads_back_equal_from_another_folder(tmp_path):
    reading = Reading("grey", (0, 4095), (2.0, 0.5), {0: 0, 255: 1})
    record = Record(tmp_path / "i/a.png", None, tmp_path / "l/a.png", "p1", 1, 0.25)
    before = Catalogue(
        Classes(("rest", "cell"), (False, True), ((0, 0, 0), (1, 2, 3)), 99),
        {"train": (record, Record(tmp_path / "i/b.png")), "val": (), "test": ()},
        reading,
    )
    write_manifest(before, tmp_path / "set.json")
    assert read_manifest(tmp_path / "set.json") == before
    write_manifest(before, tmp_path / "other/set.json")
    entry = json.loads((tmp_path / "other/set.json").read_text())["data"]["train"][0]
    assert entry["image_path"] == "../i/a.png"


def test_things_are_those_that_are_named_or_all_but_the_first(tmp_path):
    """The others are regions that are not counted."""
    entry = {"image_path": "a.png", "mask_path": "m.png", "labels_path": "l.png"}
    given = {"class_names": ["glass", "stroma", "nucleus"], "data": {"train": [entry]}}
    assert parse_manifest(given, tmp_path).classes.things == (False, True, True)
    named = parse_manifest({**given, "things": ["nucleus"]}, tmp_path)
    assert named.classes.things == (False, False, True)
    write_manifest(named, tmp_path / "set.json")
    assert read_manifest(tmp_path / "set.json").classes == named.classes


def test_names_are_unique_and_no_longer_than_needed():
    paths = ["/s/p1/a.png", "/s/p2/a.png", "/s/p2/b.ome.tif", "/t/p1/a.png"]
    assert unique_names(Record(Path(p)) for p in paths) == ["s_p1_a", "p2_a", "b", "t_p1_a"]
    assert unique_names([Record(Path("/a.png"))] * 2) == ["a", "a"], "the same file twice"


def test_located_makes_every_path_absolute_and_nothing_else(tmp_path):
    assert located("a/manifest.json", tmp_path) == str(tmp_path / "a/manifest.json")
    assert located("/else/m.json", tmp_path) == "/else/m.json"
    table = {"csv": "t.csv", "key": "name", "column": "images"}
    given = {
        "class_names": ["images", "masks"],
        "folders": {"images": "i", "masks": "/m", "mask_suffix": "_s", "group_table": table},
        "data": {"train": [{"image_path": "1.png", "mask_path": None, "group": "labels"}]},
    }
    there = {**table, "csv": str(tmp_path / "t.csv")}
    folders = {"images": str(tmp_path / "i"), "masks": "/m"}
    image = str(tmp_path / "1.png")
    assert located(given, tmp_path) == {
        "class_names": ["images", "masks"],
        "folders": {**folders, "mask_suffix": "_s", "group_table": there},
        "data": {"train": [{"image_path": image, "mask_path": None, "group": "labels"}]},
    }
