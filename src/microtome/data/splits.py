"""Training, validation and test images that share no patient, slide or file."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any

from .records import SPLITS, ManifestError, Record
from .spelling import unknown

Splits = dict[str, tuple[Record, ...]]
Take = Callable[[list[Record], Any, int], set[str]]


def split_by_group(records: Sequence[Record], chosen: Mapping[str, Any], seed: int = 0) -> Splits:
    """Take validation and test images out; the rest is for training.

    Args:
        records: all images; one without a group is a group of its own, called by its name.
        chosen: for "val" and "test" one of `{"groups": [...]}` (named groups), `{"last": n}` (the n
            last images by name), `{"fraction": f}` (whole groups, about this share of all images,
            drawn by `seed`) and `{"fold": [i, n]}` (the i-th, from 0 on, of n parts of what the
            other rules leave, equally large as far as whole groups allow). They are taken in this
            order. The value alone says the first three too: a list, a whole number, a share. A
            number is best in a config that others inherit: mappings are merged, and a number is
            replaced. None takes nothing, as does the None of a rule.
        seed: chooses the groups of fractions and folds; the same whatever the order of `records`.

    Raises ManifestError listing unknown groups, empty splits and groups torn apart.
    """
    rules = {name: _spelled(rule) for name, rule in chosen.items() if rule is not None}
    problems = _wrong(rules)
    if problems:
        raise ManifestError("split", problems)
    wanted = [(kind, name, rule[kind]) for name, rule in rules.items() for kind in rule]
    rest = sorted(records, key=lambda r: r.name)
    splits: Splits = dict.fromkeys(SPLITS, ())
    for kind, name, value in sorted(wanted, key=lambda w: list(_TAKES).index(w[0])):
        target = value * len(records) if kind == "fraction" else value
        try:
            taken = _TAKES[kind](rest, target, seed)
        except ValueError as error:
            problems.append(f"{name}: {error}")
            continue
        splits[name] = tuple(r for r in rest if _key(r, kind) in taken)
        rest = [r for r in rest if _key(r, kind) not in taken]
    splits["train"] = tuple(rest)
    if not problems:
        problems = [f"no image is left for {n}" for n in ("train", *rules) if not splits[n]]
        problems += leaks(splits)
    if problems:
        raise ManifestError("split", problems)
    return splits


def leaks(splits: Mapping[str, Iterable[Record]]) -> list[str]:
    """One sentence for each group and each image file that stands in more than one split."""
    seen: dict[tuple[str, str], set[str]] = defaultdict(set)
    for name, records in splits.items():
        for record in records:
            seen["image", str(record.image.resolve())].add(name)
            if record.group is not None:
                seen["group", record.group].add(name)
    return [
        f"{kind} {what} is in {' and '.join(sorted(where))}: the score would be of known images"
        for (kind, what), where in seen.items()
        if len(where) > 1
    ]


def _spelled(rule: Any) -> Any:
    """A rule as a mapping of what it goes by to its value."""
    if isinstance(rule, Mapping):
        return {kind: value for kind, value in rule.items() if value is not None}
    kinds = {list: "groups", tuple: "groups", int: "last", float: "fraction"}
    return {kinds[type(rule)]: rule} if type(rule) in kinds else rule


def _wrong(rules: Mapping[str, Any]) -> list[str]:
    problems = unknown(rules, SPLITS[1:], "split")
    for name, rule in rules.items():
        known = isinstance(rule, Mapping) and not set(rule) - set(_TAKES)
        if not known or len(rule) != 1:
            several = f": {' and '.join(rule)} exclude each other" if known and rule else ""
            problems.append(
                f'{name}: expected one of {{"groups": [...]}}, {{"last": n}}, {{"fraction": f}} '
                f'and {{"fold": [i, n]}}, got {rule!r}{several}'
            )
            continue
        ((kind, value),) = rule.items()
        if not _FITS[kind](value):
            problems.append(f"{name}: {kind} cannot be {value!r}")
    if sum("fold" in rule for rule in rules.values() if isinstance(rule, Mapping)) > 1:
        problems.append("fold: of one split only; take the other by groups, last or fraction first")
    return problems


def _group(record: Record) -> str:
    return record.name if record.group is None else record.group


def _key(record: Record, kind: str) -> str:
    return str(record.image) if kind == "last" else _group(record)


def _named(rest: list[Record], groups: Sequence[Any], seed: int) -> set[str]:
    wanted = {str(g) for g in groups}
    missing = unknown(sorted(wanted), sorted({_group(r) for r in rest}), "group")
    if missing:
        raise ValueError("; ".join(missing))
    return wanted


def _last(rest: list[Record], count: int, seed: int) -> set[str]:
    return {str(r.image) for r in rest[-count:]}


def _drawn(rest: list[Record], target: float, seed: int) -> set[str]:
    """Groups in the order of a hash, each taken unless that leads further from the target."""
    sizes = Counter(_group(record) for record in rest)
    taken: set[str] = set()
    count = 0
    for group in sorted(sizes, key=lambda g: _lot(seed, g)):
        nearer = abs(count + sizes[group] - target) < abs(count - target)
        if nearer or not taken:
            taken.add(group)
            count += sizes[group]
    return taken


def _folded(rest: list[Record], fold: Sequence[int], seed: int) -> set[str]:
    """Groups, the largest first, each to the part that has the fewest images so far."""
    sizes = Counter(_group(record) for record in rest)
    parts: list[set[str]] = [set() for _ in range(fold[1])]
    counts = [0] * len(parts)
    for group in sorted(sizes, key=lambda g: (-sizes[g], _lot(seed, g))):
        smallest = counts.index(min(counts))
        parts[smallest].add(group)
        counts[smallest] += sizes[group]
    return parts[fold[0]]


def _lot(seed: int, group: str) -> bytes:
    return sha256(f"{seed}/{group}".encode()).digest()


_TAKES: dict[str, Take] = {"groups": _named, "last": _last, "fraction": _drawn, "fold": _folded}
_FITS: dict[str, Callable[[Any], bool]] = {
    "groups": lambda v: isinstance(v, list | tuple) and len(v) > 0,
    "last": lambda v: type(v) is int and v > 0,
    "fraction": lambda v: isinstance(v, float) and 0 < v < 1,
    "fold": lambda v: (
        isinstance(v, list | tuple)
        and len(v) == 2
        and all(type(n) is int for n in v)
        and 0 <= v[0] < v[1] > 1
    ),
}
