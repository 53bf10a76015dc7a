"""Public data sets: where they are published, and what their authors allow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Published(NamedTuple):
    """A file as its authors, or those who use it, describe it.

    `hashes` are hexadecimal digests by algorithm; `size` is None when only the server says it;
    `listing` is a figshare article whose listing says url, size and md5 instead.
    """

    name: str
    url: str = ""
    hashes: Mapping[str, str] = {}
    size: int | None = None
    listing: str = ""


class DataSet(NamedTuple):
    """A public data set: its archive, what its authors allow, what to type next."""

    file: Published
    terms: str
    use: str


DATA_SETS = {
    "ade20k": DataSet(
        # The hashes are those that several projects have pinned; the authors state none.
        Published(
            "ADEChallengeData2016.zip",
            "http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip",
            {
                "sha1": "219e1696abb36c8ba3a3afe7fb2f4b4606a897c7",
                "md5": "7328b3957e407ddae1d3cbf487f149ef",
            },
        ),
        "images: for non-commercial research and education only (ADE20K's terms of use)",
        "microtome fit --config ade20k data.init_args.root={}",
    ),
    "lunghist700": DataSet(
        Published("LungHist700.rar", listing="https://api.figshare.com/v2/articles/25459174"),
        "CC BY 4.0: name the authors (Diosdado et al., Scientific Data 11:1088, 2024)",
        "mkdir LungHist700 && bsdtar -xf {} -C LungHist700   (RAR: also unrar, 7z)\n"
        "  microtome fit --config lunghist700 data.init_args.root=LungHist700",
    ),
}
