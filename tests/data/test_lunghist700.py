"""LungHist700: the class of an image is that of all its pixels; patients stay together."""

from __future__ import annotations

import pytest

from microtome.data.lunghist700 import LungHist700DataModule, read_lunghist700
from microtome.data.records import ManifestError
from real_layouts import write_lunghist700


@pytest.mark.parametrize("magnification", ["20x", "40x"])
def test_classes_are_those_of_whole_images_and_patients_stay_apart(tmp_path, magnification):
    write_lunghist700(tmp_path)
    data = LungHist700DataModule(str(tmp_path), magnification, crop=8, workers=0)
    assert data.classes.names == ("normal", "adenocarcinoma", "squamous cell carcinoma")
    patients = {n: {r.group for r in s.records} for n, s in data.splits.items()}
    published = {
        "20x": {"train": {"2"}, "val": {"1", "6"}, "test": {"9"}},
        "40x": {"train": {"2", "6", "9"}, "val": {"1"}},
    }
    assert patients == published[magnification]
    for split in data.splits.values():
        for i, record in enumerate(split.records):
            sample = split.load(i)
            wanted = ["nor", "aca", "scc"].index(record.image.stem.split("_")[0])
            assert f"_{magnification}_" in record.image.name
            assert sample.truth.classes.shape == sample.shape
            assert sample.truth.classes.unique().tolist() == [wanted]
    report = data.inspect()
    assert not report.problems
    assert report.splits["train"].pixels[0] == report.splits["train"].occurs[0] * 24 * 32


def test_grades(tmp_path):
    catalogue = read_lunghist700(write_lunghist700(tmp_path), "20x", grades=True)
    names = catalogue.classes.names
    assert len(names) == 7 and names[0] == "normal"
    told = {r.image.parent.name: names[r.value] for r in catalogue.splits["train"]}
    assert told["scc_md"] == "squamous cell carcinoma, moderately differentiated"
    assert told["aca_bd"] == "adenocarcinoma, well differentiated" and told["nor"] == "normal"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("aca,bd", "aca,../..", "line"),
        ("aca,bd", "lung,bd", "line"),
        (",20x,0,2", ",20x,../0,2", "line 2"),
        (",20x,0,2", ",20x,0,two", "line 2"),
        ("image_id", "number", "image_id"),
    ],
)
def test_a_table_that_is_not_as_published_is_refused(tmp_path, old, new, message):
    root = write_lunghist700(tmp_path)
    table = (root / "data.csv").read_text()
    assert old in table
    (root / "data.csv").write_text(table.replace(old, new))
    with pytest.raises(ManifestError, match=message):
        read_lunghist700(root, "20x", grades=True)


def test_the_table_must_be_there(tmp_path):
    with pytest.raises(ManifestError, match=r"expected data\.csv"):
        read_lunghist700(tmp_path, "20x", grades=False)
