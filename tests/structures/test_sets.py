"""Classes that overlap: their table of sets, and numbers of sets."""

import pytest
import torch

from microtome.structures import Classes, members, set_probs

TABLE = Classes.overlapping(("gland", "tumour"), [(200, 0, 0), (0, 100, 0)])


def test_the_classes_are_all_sets():
    assert TABLE.names == ("none", "gland", "tumour", "gland + tumour")
    assert TABLE.colours == ((0, 0, 0), (200, 0, 0), (0, 100, 0), (100, 50, 0))
    assert TABLE.members == ("gland", "tumour") and TABLE.checked() is TABLE
    assert Classes(("a", "b")).members == ("a", "b")
    assert len(set(Classes.overlapping([*"abcdef"]).checked().colours)) == 64


@pytest.mark.parametrize("names", [[], [*"abcdefg"]])
def test_too_many_and_none_are_refused(names):
    with pytest.raises(ValueError, match="1 to 6 classes that overlap"):
        Classes.overlapping(names)


def test_a_table_that_is_not_of_sets_is_refused():
    with pytest.raises(ValueError, match=r"Classes\.overlapping"):
        Classes(("a", "b", "c"), exclusive=False).checked()


@pytest.mark.parametrize("dims", [2, 3])
def test_members_are_the_bits(dims):
    sets = torch.tensor([0, 1, 2, 3, 255]).view(5, *[1] * (dims - 1))
    found = members(sets, 2, 255).flatten(0, -2).tolist()
    assert found == [[0, 0], [1, 0], [0, 1], [1, 1], [255, 255]]


def test_sets_are_as_probable_as_their_members_together():
    probs = torch.tensor([[0.9, 0.2]])[..., None]  # [B, K, *S]
    expected = torch.tensor([[0.08, 0.72, 0.02, 0.18]])[..., None]
    torch.testing.assert_close(set_probs(probs), expected)
    several = torch.rand(2, 4, 5, 3, generator=torch.Generator().manual_seed(0))
    best = set_probs(several).argmax(1)
    assert members(best, 4, 255).movedim(-1, 1).equal((several > 0.5).long())
