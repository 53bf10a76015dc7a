"""Hungarian matching: the least cost, in bounded memory, and bad terms by name."""

from itertools import permutations

import pytest
import torch

from microtome.losses import matching
from microtome.losses.masks import mask_losses
from microtome.losses.matching import assign, class_cost, mask_costs

WEIGHTS = {"class": 2.0, "mask": 5.0, "dice": 5.0}


def costs(queries, objects):
    generator = torch.Generator().manual_seed(0)
    return {name: torch.rand(queries, objects, generator=generator) for name in WEIGHTS}


def test_it_is_the_best_of_all_assignments():
    terms = costs(5, 3)
    total = sum(WEIGHTS[k] * v for k, v in terms.items())
    best = min(permutations(range(5), 3), key=lambda q: total[list(q), [0, 1, 2]].sum().item())
    queries, objects = assign(terms, WEIGHTS)
    assert dict(zip(objects.tolist(), queries.tolist(), strict=True)) == dict(enumerate(best))


@pytest.mark.parametrize("queries, objects", [(4, 0), (4, 6), (1, 1)])
def test_every_query_and_object_is_used_once_at_most(queries, objects):
    rows, columns = assign(costs(queries, objects), WEIGHTS)
    assert len(rows) == len(columns) == min(queries, objects)
    assert rows.unique().equal(rows.sort().values) and columns.unique().equal(columns.sort().values)


@pytest.mark.parametrize("name", WEIGHTS)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_term_that_is_not_finite_is_named(name, value):
    terms = costs(4, 3)
    terms[name][1, 2] = value
    with pytest.raises(FloatingPointError, match=rf"not finite in {name} \(1 of 12 values\)"):
        assign(terms, WEIGHTS)


def test_the_class_cost_is_minus_the_probability():
    logits = torch.tensor([[0.0, 0.0, 0.0], [30.0, 0.0, 0.0]])
    cost = class_cost(logits, torch.tensor([0, 1, 0]))
    torch.testing.assert_close(cost, -torch.tensor([[1 / 3, 1 / 3, 1 / 3], [1, 0, 1]]))


@pytest.mark.parametrize("chunk", [1, 2, 256])
def test_costs_are_the_losses_of_every_pair(monkeypatch, chunk):
    """With overlapping objects in two layers, whatever the chunks."""
    monkeypatch.setattr(matching, "CHUNK", chunk)
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 50, generator=generator)
    values = torch.randint(0, 3, (2, 50), generator=generator)
    ids = torch.tensor([1, 2, 0])
    entropy, dice = mask_costs(logits, values, ids)
    for index, one in enumerate(ids):
        truth = (values == one).any(0).expand(4, -1)
        expected = mask_losses(logits, truth)
        torch.testing.assert_close((entropy[:, index], dice[:, index]), expected)


def test_no_objects_have_no_costs():
    entropy, dice = mask_costs(torch.randn(4, 9), torch.zeros(1, 9), torch.zeros(0))
    assert entropy.shape == dice.shape == (4, 0)
