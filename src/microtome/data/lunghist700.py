"""LungHist700 (Diosdado et al., Scientific Data 11:1088, 2024): lung tissue, one class per image.

691 images of 1200 x 1600 pixels from 45 patients: normal tissue, adenocarcinoma and squamous cell
carcinoma in three grades. Nobody outlined anything: the class of an image is that of all its
pixels here, background too, so figures say how well images are told apart, not how well tissue is
outlined.

    data/data.csv                        superclass, subclass, resolution, image_id, patient_id
    data/images/aca_bd/aca_bd_20x_7.jpg
"""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any, Literal

from ..structures import Classes
from .datamodule import CatalogueData
from .records import SPLITS, Catalogue, ManifestError, Record
from .spelling import unknown
from .stores import ImageReadError
from .stores.archives import size_of, text_of

TABLE = "data.csv"
COLUMNS = ("superclass", "subclass", "resolution", "image_id", "patient_id")
Magnification = Literal["20x", "40x"]
KINDS = {"nor": "normal", "aca": "adenocarcinoma", "scc": "squamous cell carcinoma"}
GRADES = {"bd": "well", "md": "moderately", "pd": "poorly"}  # differentiated
HELD_OUT: dict[str, dict[str, tuple[int, ...]]] = {  # patients, as in the publication
    "20x": {"val": (1, 6, 27, 32, 44), "test": (9, 13, 31, 40)},
    "40x": {"val": (1, 4, 17, 26, 30, 37, 45), "test": (11, 15, 20, 25, 32, 43)},
}


class LungHist700DataModule(CatalogueData):
    """LungHist700 with the publication's split by patients.

    Args:
        root: the folder of `data.csv`, the one around it, or a zip file of either.
        magnification: which images; the publication splits each magnification for itself.
        grades: tell the three grades of the carcinomas apart: seven classes instead of three.
        options: as for DataModule.

    Raises ManifestError listing everything wrong with the table.
    """

    def __init__(
        self,
        root: str,
        magnification: Magnification = "20x",
        grades: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(read_lunghist700(Path(root), magnification, grades=grades), **options)

    def located(self, options: dict[str, Any]) -> dict[str, Any]:
        """The same arguments with an absolute path."""
        return options | {"root": str(Path(options["root"]).absolute())}


def read_lunghist700(root: Path, magnification: Magnification, *, grades: bool) -> Catalogue:
    """Read the table and split its images by patients.

    Raises ManifestError listing everything wrong with the table.
    """
    top = next((t for t in (root, root / "data") if size_of(t / TABLE) is not None), None)
    if top is None:
        raise ManifestError(root, [f"expected {TABLE} in it, or in a folder data"])
    codes = _codes(grades)
    records, problems = [], []
    for number, row in enumerate(_rows(top / TABLE), start=2):
        code = "_".join(part for part in (row["superclass"], row["subclass"]) if part)
        kind = code if grades else row["superclass"]
        named = kind in codes and re.fullmatch(r"[a-z_]+", code)
        if not named or not row["image_id"].isdigit() or not row["patient_id"].isdigit():
            problems.append(f"line {number}: expected a class, an image and a patient, got {row}")
        elif row["resolution"] == magnification:
            image = top / "images" / code / f"{code}_{magnification}_{row['image_id']}.jpg"
            value = list(codes).index(kind)
            records.append(Record(image, group=str(int(row["patient_id"])), value=value))
    if problems:
        raise ManifestError(top / TABLE, problems)
    return Catalogue(Classes(tuple(codes.values())), _split(records, magnification))


def _codes(grades: bool) -> dict[str, str]:
    """Class names by the code that images are called by."""
    if not grades:
        return KINDS
    graded = {
        f"{kind}_{grade}": f"{name}, {how} differentiated"
        for kind, name in KINDS.items()
        for grade, how in GRADES.items()
        if kind != "nor"
    }
    return {"nor": KINDS["nor"]} | graded


def _rows(file: Path) -> list[dict[str, str]]:
    try:
        table = csv.DictReader(text_of(file).splitlines())
    except ImageReadError as error:
        raise ManifestError(error.file, [error.reason]) from None
    missing = unknown(COLUMNS, table.fieldnames or (), "column")
    if missing:
        raise ManifestError(file, missing)
    return [{name: (row[name] or "").strip() for name in COLUMNS} for row in table]


def _split(records: list[Record], magnification: Magnification) -> dict[str, tuple[Record, ...]]:
    """The publication's patients, as far as they are there."""
    split_of = {
        str(patient): split
        for split, patients in HELD_OUT[magnification].items()
        for patient in patients
    }
    splits: dict[str, list[Record]] = {split: [] for split in SPLITS}
    for record in sorted(records, key=lambda record: record.name):
        splits[split_of.get(str(record.group), "train")].append(record)
    return {split: tuple(found) for split, found in splits.items()}
