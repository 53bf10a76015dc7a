"""The rule about loss weights: the same keys, always."""

import pytest
import torch

from microtome.losses import balanced, checked_weights, weighted_sum


def test_the_sum_is_weighted():
    total = weighted_sum({"a": torch.tensor(2.0), "b": torch.tensor(3.0)}, {"b": 0.5, "a": 1.0})
    assert total.item() == 3.5


def test_other_keys_are_an_error_that_names_them():
    with pytest.raises(
        KeyError, match=r"without a weight: \['b'\]; weights without a loss: \['c'\]"
    ):
        weighted_sum({"a": torch.ones(()), "b": torch.ones(())}, {"a": 1.0, "c": 1.0})


def test_given_weights_replace_defaults():
    assert checked_weights({"b": 0.0}, {"a": 1.0, "b": 1.0}) == {"a": 1.0, "b": 0.0}
    assert checked_weights(None, {"a": 1.0}) == {"a": 1.0}


@pytest.mark.parametrize(
    "given, message",
    [({"focal": 1.0}, r"unknown losses \['focal'\].*\['a'\]"), ({"a": -1.0}, "'a'")],
)
def test_unknown_and_negative_weights_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        checked_weights(given, {"a": 1.0})


def test_inverse_frequencies_give_all_classes_the_same_mass():
    pixels = [600, 300, 100, 0]
    weights = balanced("inverse", pixels, [1000, 1000, 1000, 0])
    assert weights == pytest.approx([1000 / 1800, 1000 / 900, 1000 / 300, 1.0])
    mass = [w * n for w, n in zip(weights, pixels, strict=True)]
    assert mass == pytest.approx([1000 / 3, 1000 / 3, 1000 / 3, 0])


def test_median_frequencies_look_at_images_that_show_a_class():
    """The rare class fills half of the few images that show it, so it is not rare there."""
    weights = balanced("median", [600, 300, 100, 0], [1000, 1000, 200, 0])
    assert weights == pytest.approx([0.5 / 0.6, 0.5 / 0.3, 1.0, 1.0])
