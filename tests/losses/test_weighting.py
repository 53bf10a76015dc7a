"""The rule about loss weights: the same keys, always."""

import pytest
import torch

from microtome.losses import checked_weights, weighted_sum


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
