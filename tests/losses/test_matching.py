"""Hungarian matching: the least cost, in bounded memory, and bad terms by name."""

from itertools import permutations

import pytest
import torch

from microtome.losses import matching
from microtome.losses.masks import mask_losses
from microtome.losses.matching import (
    ObjectPoints,
    assign,
    assign_layers,
    class_cost,
    mask_costs,
    total_cost,
)

WEIGHTS = {"class": 2.0, "mask": 5.0, "dice": 5.0}


def costs(queries, objects):
    generator = torch.Generator().manual_seed(0)
    return {name: torch.rand(queries, objects, generator=generator) for name in WEIGHTS}


def paired(terms):
    return assign(total_cost(terms, WEIGHTS), tuple(WEIGHTS))


def test_it_is_the_best_of_all_assignments():
    terms = costs(5, 3)
    total = sum(WEIGHTS[k] * v for k, v in terms.items())
    best = min(permutations(range(5), 3), key=lambda q: total[list(q), [0, 1, 2]].sum().item())
    queries, objects = paired(terms)
    assert dict(zip(objects.tolist(), queries.tolist(), strict=True)) == dict(enumerate(best))


@pytest.mark.parametrize("queries, objects", [(4, 0), (4, 6), (1, 1)])
def test_every_query_and_object_is_used_once_at_most(queries, objects):
    rows, columns = paired(costs(queries, objects))
    assert len(rows) == len(columns) == min(queries, objects)
    assert rows.unique().equal(rows.sort().values) and columns.unique().equal(columns.sort().values)


@pytest.mark.parametrize("most, held", [(1, 1), (30, 2), (10**6, 3)])
def test_layers_are_held_until_they_are_enough(most, held, monkeypatch):
    """Three layers of 15 pairs each, each with costs of its own."""
    monkeypatch.setattr(matching, "COSTS_AT_ONCE", most)
    terms = [{n: t.roll(k, 0) for n, t in costs(5, 3).items()} for k in range(3)]
    made = []

    def layer(its):
        made.append(its)
        return total_cost(its, WEIGHTS)

    solved = []

    def solve(cost, names):
        solved.append(len(made))
        return assign(cost, names)

    monkeypatch.setattr(matching, "assign", solve)
    layers, queries, objects = assign_layers(map(layer, terms), tuple(WEIGHTS))
    assert layers.tolist() == [0] * 3 + [1] * 3 + [2] * 3 and solved[0] == held
    for k, its in enumerate(terms):
        assert all(map(torch.equal, paired(its), (queries[layers == k], objects[layers == k])))


@pytest.mark.parametrize("name", WEIGHTS)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_term_that_is_not_finite_is_named(name, value):
    terms = costs(4, 3)
    terms[name][1, 2] = value
    with pytest.raises(FloatingPointError, match=rf"not finite in {name} \(1 of 12 values\)"):
        paired(terms)


def test_the_class_cost_is_minus_the_probability():
    logits = torch.tensor([[0.0, 0.0, 0.0], [30.0, 0.0, 0.0]])
    cost = class_cost(logits, torch.tensor([0, 1, 0]))
    torch.testing.assert_close(cost, -torch.tensor([[1 / 3, 1 / 3, 1 / 3], [1, 0, 1]]))


def test_costs_are_the_losses_of_every_pair():
    """With overlapping objects in two layers, in any order of ids, one without a point."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 50, generator=generator)
    values = torch.stack([torch.randint(0, 3, (50,)), torch.randint(3, 6, (50,))])
    ids = torch.tensor([4, 1, 2, 9, 3])
    entropy, dice = mask_costs(logits, ObjectPoints.of(values, ids))
    for index, one in enumerate(ids):
        truth = (values == one).any(0).expand(4, -1)
        expected = mask_losses(logits, truth)
        torch.testing.assert_close((entropy[:, index], dice[:, index]), expected)


def test_points_are_known_by_object():
    values = torch.tensor([[7, 0, 5, 7]])
    objects = ObjectPoints.of(values, torch.tensor([5, 7, 6]))
    assert objects.points.tolist() == [2, 0, 3, 1] and objects.counts.tolist() == [1, 2, 0]
    rows = torch.tensor([[1.0], [10.0], [100.0], [1000.0]])
    assert objects.sums(rows).tolist() == [[100.0], [1001.0], [0.0]]


@pytest.mark.parametrize("points", [9, 0])
def test_no_objects_have_no_costs(points):
    none = ObjectPoints.of(torch.zeros(1, points, dtype=torch.int64), torch.zeros(0))
    entropy, dice = mask_costs(torch.randn(4, points), none)
    assert entropy.shape == dice.shape == (4, 0)
