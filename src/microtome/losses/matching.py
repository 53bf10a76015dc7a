"""Which query answers for which object: Hungarian matching on masks that are known at points.

Q queries, N objects, P points, K layers of the truth's integer maps (one unless objects overlap),
T terms of the cost. The truth at the points is an integer per layer and point; a dense N x P or
N x *S is never made, and the time does not grow with Q x N x P.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import reduce
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional as F

COSTS_AT_ONCE = 2**22  # pairs whose costs are held until they are solved, 16 MB


class ObjectPoints(NamedTuple):
    """Which points lie in which of N objects.

    Attributes:
        points: [K x P] numbers of points, object by object; those in none of them come last.
        ends: [N + 2] where each object's points begin, and where the last group ends.
    """

    points: Tensor
    ends: Tensor

    @classmethod
    def of(cls, values: Tensor, ids: Tensor) -> ObjectPoints:
        """From maps at points [K, P] and the value [N] that means an object, which differ.

        An object has a point in one layer at most.
        """
        flat = values.flatten()
        groups = torch.full_like(flat, len(ids), dtype=torch.int64)
        if len(ids):
            known, rank = ids.sort()
            at = torch.searchsorted(known, flat).clamp(max=len(ids) - 1)
            groups = rank[at].where(known[at] == flat, groups)
        ordered, points = groups.sort(stable=True)
        borders = torch.arange(len(ids) + 2, device=values.device)
        return cls(points % max(1, values.shape[1]), torch.searchsorted(ordered, borders))

    @property
    def counts(self) -> Tensor:
        """[N] points of each object."""
        return self.ends.diff()[:-1]

    def sums(self, rows: Tensor) -> Tensor:
        """Add up rows [P, Q] over the points of each object: [N, Q]."""
        if not len(self.points):
            return rows.new_zeros(len(self.ends) - 2, rows.shape[1])
        bags: Tensor = F.embedding_bag(
            self.points, rows, self.ends, mode="sum", include_last_offset=True
        )
        return bags[:-1]


class Cost(NamedTuple):
    """What pairing costs: total [..., Q, N], and how many values of a term are not finite [..., T].

    Kept for some layers until one transfer brings them where they are solved.
    """

    total: Tensor
    wrong: Tensor


def class_cost(class_logits: Tensor, labels: Tensor) -> Tensor:
    """Minus the probability of each object's class: [Q, K + 1] and [N] -> [Q, N]."""
    return -class_logits.float().softmax(-1)[:, labels]


def mask_costs(logits: Tensor, objects: ObjectPoints) -> tuple[Tensor, Tensor]:
    """Binary cross-entropy and Dice loss of every query's mask with every object's.

    Args:
        logits: [Q, P] mask logits at the points.
        objects: which of them lie in which of the N objects.

    Returns:
        Two [Q, N]: the mean cross-entropy over the points, and 1 - (2|P∩T| + 1) / (|P| + |T| + 1).
    """
    rows = logits.float().T.contiguous()  # [P, Q]
    probs = rows.sigmoid()
    entropy = F.softplus(rows).mean(0) - objects.sums(rows) / max(1, len(rows))  # [N, Q]
    total = probs.sum(0) + objects.counts[:, None]
    return entropy.T, (1 - (2 * objects.sums(probs) + 1) / (total + 1)).T


def total_cost(terms: Mapping[str, Tensor], weights: Mapping[str, float]) -> Cost:
    """Sum terms [Q, N] by their weights."""
    total = reduce(torch.add, (weights[name] * term.float() for name, term in terms.items()))
    return Cost(total, torch.stack([(~t.isfinite()).sum() for t in terms.values()]))


def assign(cost: Cost, names: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Pair queries and objects at the least total cost (Kuhn, 1955), one to one.

    Args:
        cost: of pairs [Q, N].
        names: of its terms.

    Returns:
        Indices of queries and of objects, both [min(Q, N)], on the cost's device.

    Raises FloatingPointError naming the terms that are not finite.
    """
    size = cost.total.numel()
    wrong = [
        f"{name} ({count} of {size} values)"
        for name, count in zip(names, cost.wrong.tolist(), strict=True)
        if count
    ]
    if wrong:
        raise FloatingPointError(
            f"matching: the cost is not finite in {', '.join(wrong)}; the training diverged "
            "(lower the learning rate, clip gradients) or an image holds NaN or infinities"
        )
    pairs = np.stack(linear_sum_assignment(cost.total.detach().cpu().numpy()))
    queries, objects = torch.from_numpy(pairs).to(cost.total.device)
    return queries, objects


def assign_layers(costs: Iterable[Cost], names: Sequence[str]) -> tuple[Tensor, Tensor, Tensor]:
    """Pair in every layer on its own: indices [R] of layers, queries, objects.

    Layers are computed and brought where they are solved as many at a time as are small enough,
    mostly all of them.

    Raises what `assign` raises.
    """
    pairs = []
    for some in _small_enough(costs):
        device = some[0].total.device
        total, wrong = (torch.stack(parts).cpu() for parts in zip(*some, strict=True))
        pairs += [assign(Cost(*layer), names) for layer in zip(total, wrong, strict=True)]
    layers = torch.cat([torch.full_like(q, layer) for layer, (q, _) in enumerate(pairs)])
    queries, objects = (torch.cat(side) for side in zip(*pairs, strict=True))
    return layers.to(device), queries.to(device), objects.to(device)


def _small_enough(costs: Iterable[Cost]) -> Iterator[list[Cost]]:
    """Some layers at a time, until they have COSTS_AT_ONCE pairs."""
    held: list[Cost] = []
    for cost in costs:
        held.append(cost)
        if sum(c.total.numel() for c in held) >= COSTS_AT_ONCE:
            yield held
            held = []
    if held:
        yield held
