"""Splits: whole groups, the wanted share, the same for a seed, and no leak."""

from __future__ import annotations

from pathlib import Path

import pytest

from microtome.data.records import ManifestError, Record
from microtome.data.splits import leaks, split_by_group

PATIENTS = [
    Record(Path(f"/d/p{p:02}_{i}.png"), group=f"p{p:02}") for p in range(20) for i in range(5)
]
SINGLE = [Record(Path(f"/d/{i:03}.png")) for i in range(100)]


def names(records):
    return [r.name for r in records]


def groups(records):
    return {r.group for r in records}


def test_fractions_take_whole_groups_and_the_wanted_share():
    found = split_by_group(PATIENTS, {"val": {"fraction": 0.2}, "test": {"fraction": 0.1}}, seed=3)
    assert {k: len(v) for k, v in found.items()} == {"train": 70, "val": 20, "test": 10}
    assert not groups(found["train"]) & (groups(found["val"]) | groups(found["test"]))
    assert sorted(names(sum(found.values(), ()))) == sorted(names(PATIENTS)), "nothing is lost"


def test_a_split_depends_on_the_seed_and_not_on_the_order():
    val = {"val": {"fraction": 0.2}}
    assert split_by_group(PATIENTS, val, 0) == split_by_group(PATIENTS[::-1], val, 0)
    drawn = {frozenset(groups(split_by_group(PATIENTS, val, s)["val"])) for s in range(8)}
    assert len(drawn) > 4
    kept = split_by_group(PATIENTS, val, 0)["val"]
    more = [*PATIENTS, Record(Path("/d/q.png"), group="q")]
    assert len(set(kept) & set(split_by_group(more, val, 0)["val"])) >= 15, "stable when data grows"


def test_unequal_groups_come_near_the_share():
    sizes = (40, 3, 5, 2, 7, 1, 6, 4, 9, 3)
    records = [
        Record(Path(f"/d/{g}_{i}.png"), group=str(g)) for g, n in enumerate(sizes) for i in range(n)
    ]
    for seed in range(10):
        share = len(split_by_group(records, {"val": {"fraction": 0.25}}, seed)["val"]) / 80
        assert 0.15 <= share <= 0.5


def test_named_groups_and_the_last():
    found = split_by_group(PATIENTS, {"val": {"groups": ["p03", "p01"]}, "test": {"last": 5}})
    assert groups(found["val"]) == {"p01", "p03"} and groups(found["test"]) == {"p19"}
    last = split_by_group(SINGLE[::-1], {"val": {"last": 60}})["val"]
    assert names(last) == [f"{i:03}" for i in range(40, 100)]
    named = split_by_group(SINGLE, {"val": {"groups": ["007"]}})["val"]
    assert names(named) == ["007"], "an image without a group is a group of its own"
    numbers = [Record(Path(f"/{i}.png"), group=str(i)) for i in range(4)]
    assert names(split_by_group(numbers, {"val": {"groups": [1, 3]}})["val"]) == ["1", "3"]


@pytest.mark.parametrize(
    ("short", "long"),
    [
        (["p01", "p03"], {"groups": ["p01", "p03"]}),
        (10, {"last": 10}),
        (0.25, {"fraction": 0.25}),
        ({"groups": ["p01"], "fraction": None}, {"groups": ["p01"]}),
    ],
)
def test_the_value_alone_says_what_a_split_goes_by(short, long):
    assert split_by_group(PATIENTS, {"val": short}) == split_by_group(PATIENTS, {"val": long})
    assert split_by_group(PATIENTS, {"val": short, "test": None})["test"] == ()


def test_named_groups_are_taken_before_fractions():
    chosen = {"val": {"fraction": 0.5}, "test": {"groups": [f"p{p:02}" for p in range(10)]}}
    found = split_by_group(PATIENTS, {"val": {"fraction": 0.25}, "test": chosen["test"]})
    assert len(found["test"]) == 50 and len(found["val"]) == 25


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"val": {"groups": ["p3"]}}, "val: group 'p3' is not known; did you mean"),
        ({"val": {"last": 7}}, "group p18 is in train and val"),
        ({"val": {"last": 100}}, "no image is left for train"),
        ({"val": {"groups": ["p01"]}, "test": {"groups": ["p01"]}}, "test: group 'p01' is not"),
        ({"valid": {"last": 7}}, "split 'valid' is not known; did you mean 'val'?"),
        ({"val": {"last": 7, "fraction": 0.1}}, "last and fraction exclude each other"),
        ({"val": {"fraction": 20}}, "val: fraction cannot be 20"),
        ({"val": {"last": 0}}, "val: last cannot be 0"),
        ({"val": {"groups": "p01"}}, "val: groups cannot be 'p01'"),
        ({"val": "p01"}, "val: expected"),
        ({"val": {}}, "val: expected"),
        ({"val": True}, "val: expected"),
        ({"val": 20.0}, "val: fraction cannot be 20"),
    ],
)
def test_what_is_refused(chosen, message):
    with pytest.raises(ManifestError) as caught:
        split_by_group(PATIENTS, chosen)
    assert message in str(caught.value)


def test_leaks_of_groups_and_of_files(tmp_path):
    image = tmp_path / "a.png"
    image.touch()
    (tmp_path / "link.png").symlink_to(image)
    found = leaks(
        {
            "train": [Record(image, group="p1")],
            "val": [Record(tmp_path / "x" / ".." / "link.png"), Record(Path("b"), group="p1")],
            "test": [Record(Path("c")), Record(Path("c"))],
        }
    )
    assert len(found) == 2
    assert f"image {image.resolve()} is in train and val" in found[0]
    assert found[1].startswith("group p1 is in train and val")


def test_folds_are_whole_groups_equally_large_and_together_everything():
    chosen = {"test": {"groups": ["p00"]}}
    parts = [
        split_by_group(PATIENTS, {"val": {"fold": [i, 4]}} | chosen, 3)["val"] for i in range(4)
    ]
    assert sorted(names(sum(parts, ()))) == sorted(n for n in names(PATIENTS) if n[:3] != "p00")
    assert sorted(map(len, parts)) == [20, 25, 25, 25]
    assert all(len(groups(part)) * 5 == len(part) for part in parts)
    assert parts != [
        split_by_group(PATIENTS, {"val": {"fold": [i, 4]}} | chosen, 4)["val"] for i in range(4)
    ]


@pytest.mark.parametrize("fold", [[4, 4], [0, 1], [0.0, 2], 3, [1]])
def test_folds_that_are_none(fold):
    with pytest.raises(ManifestError, match="val: fold cannot be"):
        split_by_group(PATIENTS, {"val": {"fold": fold}})


def test_only_one_split_is_a_fold():
    with pytest.raises(ManifestError, match="fold: of one split only"):
        split_by_group(PATIENTS, {"val": {"fold": [0, 3]}, "test": {"fold": [1, 3]}})
