"""Licences of published encoders: what is trained on one inherits what its licence asks for.

Those of pathology's are in the catalogue, by `hf-hub:owner/name` or as the file that was published
there, which its sha256 tells whatever it is called now.
"""

from __future__ import annotations

from ..catalogue import by_hub_id

UNKNOWN = ("not stated", "see its source")
RESTRICTED = ("non-commercial", "-nc", "use terms")


def licence_of(hub_id: str, stated: str | None) -> str:
    """The licence of a repository: as known here, else as its config states it."""
    known = by_hub_id(hub_id)
    return (known.licence if known else None) or stated or UNKNOWN[0]


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
