"""Classes of objects with their table."""

import pytest
import torch

from microtome.structures import Classes, Labels

CELLS = Classes(("background", "neoplastic", "inflammatory", "dead"))


def labels(*values):
    return Labels(torch.tensor(values, dtype=torch.int64), CELLS)


def test_counts_names_and_one_hot():
    few = labels(1, 3, 1)
    assert few.counts() == {"background": 0, "neoplastic": 2, "inflammatory": 0, "dead": 1}
    assert few.names() == ["neoplastic", "dead", "neoplastic"] and len(few) == 3
    assert few.one_hot().tolist() == [[0, 1, 0, 0], [0, 0, 0, 1], [0, 1, 0, 0]]
    assert labels().one_hot().shape == (0, 4) and labels().names() == []


def test_another_table():
    simple = Classes(("tissue", "cell", "dead"))
    moved = labels(1, 3, 2).remap(simple, {"neoplastic": "cell", "inflammatory": "cell"})
    assert moved.tensor.tolist() == [1, 2, 1] and moved.names() == ["cell", "dead", "cell"]
    with pytest.raises(ValueError, match=r"\['inflammatory', 'neoplastic'\] have no class"):
        labels(1, 2, 3).remap(simple)
    assert labels(3).remap(simple).tensor.tolist() == [2]  # what is not used may be missing


def test_labels_are_classes():
    with pytest.raises(ValueError, match=r"\[-1, 4\] are no classes: expected 0 to 3"):
        labels(-1, 0, 4)
