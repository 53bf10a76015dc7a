"""`microtome models [NAME]`: pathology foundation models, and how to come by their weights."""

from __future__ import annotations

import argparse
import json

from ..catalogue import Entry, entries, find, steps
from . import refuse


def main(verb: str, args: list[str]) -> int:
    """Print the list, or what is known of one model; exit code 2 for an unknown name."""
    parser = argparse.ArgumentParser(prog=f"microtome {verb}", description=__doc__)
    parser.add_argument("name", nargs="?", help="a model, by name, alias or hub id")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args(args)
    if given.name is None:
        print(_json(list(entries().values())) if given.json else _listed())
        return 0
    try:
        entry = find(given.name)
    except ValueError as error:
        return refuse(str(error))
    print(json.dumps(_facts(entry), indent=1) if given.json else _explained(entry))
    return 0


def _facts(entry: Entry) -> dict[str, object]:
    return {**entry._asdict(), "out_channels": entry.out_channels, "steps": steps(entry)}


def _json(found: list[Entry]) -> str:
    return json.dumps([_facts(entry) for entry in found], indent=1)


def _listed() -> str:
    head = ("name", "tokens", "patch", "params", "µm/px", "access", "licence")
    rows = [head, *(_row(entry) for entry in entries().values())]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)).rstrip() for r in rows]
    return "\n".join([*lines, "", "microtome models NAME explains one"])


def _row(entry: Entry) -> tuple[str, ...]:
    return (
        entry.name,
        str(entry.out_channels),
        str(entry.patch),
        f"{entry.parameters / 1e6:.0f} M",
        _spacings(entry),
        {True: "on request", False: "open", None: "not public"}[entry.gated],
        entry.licence,
    )


def _explained(entry: Entry) -> str:
    named = ", ".join(entry.aliases) or "none"
    pooled = f" (pooled to {entry.pooled} where it was published)" if entry.pooled else ""
    planes = ", for each colour alone" if entry.planes else ""
    facts = [
        ("other names", named),
        ("weights", entry.place),
        ("licence", entry.licence),
        ("parameters", f"{entry.parameters:,}"),
        ("tokens", f"{entry.dim} channels{planes}{pooled}, {entry.prefix} in front"),
        ("patch", f"{entry.patch} pixels"),
        ("image size", f"any; it is padded to a multiple of {entry.patch}. Trained on "
                       f"{entry.native_size} pixels"),
        ("µm per pixel", f"{_spacings(entry)} ({entry.um_per_px_source})"),
        ("mean", _numbers(entry.mean)),
        ("deviation", _numbers(entry.std)),
        ("positions", _POSITIONS[entry.positions]),
        ("sha256", entry.sha256 or "not known"),
    ]  # fmt: skip
    ways = [f"  {number}. {step}" for number, step in enumerate(steps(entry), 1)]
    return "\n".join(
        [
            entry.name,
            *(f"  {name:<13} {text}" for name, text in facts),
            "",
            "How to get the weights:",
            *ways,
            "",
            _rules(entry),
        ]
    )


def _rules(entry: Entry) -> str:
    low = entry.licence.lower()
    if "-nd" in low:
        return (
            "Rules: no commercial use; what is made from the weights, a fine-tuned model too, may "
            "not be passed on without the owner's consent."
        )
    if "non-commercial" in low:
        return "Rules: no commercial use."
    if entry.licence in ("MIT", "Apache-2.0"):
        return "Rules: any use, with the licence's notice."
    return "Rules: read the licence before you share or sell what you make."


def _spacings(entry: Entry) -> str:
    return ", ".join(f"{value:g}" for value in entry.um_per_px) or "?"


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in values)


_POSITIONS = {
    "antialias": "resampled with antialiasing, as timm does",
    "plain": "resampled without antialiasing, as transformers does",
    "dino": "resampled as DINOv2 does, by a factor a tenth of a patch too large",
    "rotary": "rotary, for any size",
}
