"""Licences of published encoders: what is trained on one inherits what its licence asks for.

Listed are those that timm's architectures can take: by `hf-hub:owner/name`, or as the file that was
published there, which its sha256 tells whatever it is called now.
"""

from __future__ import annotations

from typing import NamedTuple


class Licensed(NamedTuple):
    """A published encoder.

    Attributes:
        hub_id: its repository on the Hugging Face hub.
        licence: as its repository states it.
        sha256: of its weights file.
    """

    hub_id: str
    licence: str
    sha256: str


KNOWN = (
    Licensed(
        "MahmoodLab/UNI",
        "CC-BY-NC-ND-4.0",
        "56ef09b44a25dc5c7eedc55551b3d47bcd17659a7a33837cf9abc9ec4e2ffb40",
    ),
    Licensed(
        "MahmoodLab/UNI2-h",
        "CC-BY-NC-ND-4.0",
        "6e077eda234bebc595868d918d3458d9dd32a050199b0ff04443b2f46a0a3b1e",
    ),
    Licensed(
        "paige-ai/Virchow",
        "Apache-2.0",
        "3416891b37a2349a2d9ce7ecf00b64a6277011b41351436c1ceb0abb80805408",
    ),
    Licensed(
        "paige-ai/Virchow2",
        "CC-BY-NC-ND-4.0",
        "8d6cea947eb2418c3b0dff48cfb9b238e47744ab0dfca21b2b0637b140769b4b",
    ),
    Licensed(
        "bioptimus/H-optimus-0",
        "Apache-2.0",
        "bf47b8467403079798661601b6ab06533be789da48d3f8b510aaefe2fbc55cd3",
    ),
    Licensed(
        "bioptimus/H-optimus-1",
        "CC-BY-NC-ND-4.0",
        "c4f1e5b457ddf00679626053b0bf2899be6a19c3a04ad191c87ad1cdfd1abfe1",
    ),
    Licensed(
        "bioptimus/H0-mini",
        "CC-BY-NC-ND-4.0",
        "5e4de45a6527a8160f7c21fe3105c987757efe30ce581e1f2cf5809476069ade",
    ),
    Licensed(
        "prov-gigapath/prov-gigapath",
        "Apache-2.0 + card use terms",
        "877947214318afa9e011754b74bbc3894a1f480a253afc7bc8045b8321dedd63",
    ),
)
UNKNOWN = ("not stated", "see its source")
RESTRICTED = ("non-commercial", "-nc", "use terms")


def by_file(sha256: str) -> Licensed | None:
    """The encoder that was published as a file of this sha256."""
    return next((known for known in KNOWN if known.sha256 == sha256), None)


def licence_of(hub_id: str, stated: str | None) -> str:
    """The licence of a repository: as known here, else as its config states it."""
    known = next((known.licence for known in KNOWN if known.hub_id == hub_id), None)
    return known or stated or UNKNOWN[0]


def warning(licence: str) -> str | None:
    """What to know before a model is shared or sold; None when the licence allows both."""
    low = licence.lower()
    told = f"The encoder's licence ({licence})"
    if low in UNKNOWN:
        return (
            "The licence of the encoder is not known here: find it before you share or sell this."
        )
    if "-nc" in low and "-nd" in low:
        return (
            f"{told} forbids commercial use, and passing on what was made from its weights: "
            "ask its owner before you share this model."
        )
    if any(word in low for word in RESTRICTED):
        return f"{told} restricts what this model may be used for: read it first."
    return None
