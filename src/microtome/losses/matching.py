"""Which query answers for which object: Hungarian matching on masks that are known at points.

Q queries, N objects, P points, K layers of the truth's integer maps (one unless objects overlap).
The truth at the points is an integer per layer and point, so memory is P x (Q + a chunk of N) and
never N x *S.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional as F

CHUNK = 256  # objects whose truth at the points is held at once


def class_cost(class_logits: Tensor, labels: Tensor) -> Tensor:
    """Minus the probability of each object's class: [Q, K + 1] and [N] -> [Q, N]."""
    return -class_logits.float().softmax(-1)[:, labels]


def mask_costs(logits: Tensor, values: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Binary cross-entropy and Dice loss of every query's mask with every object's.

    Args:
        logits: [Q, P] mask logits at the points.
        values: [K, P] integers, the truth's maps at the points.
        ids: [N] the value in the maps that means this object.

    Returns:
        Two [Q, N]: the mean cross-entropy over the points, and 1 - (2|P∩T| + 1) / (|P| + |T| + 1).
    """
    logits = logits.float()
    probs, softplus = logits.sigmoid(), F.softplus(logits).mean(1, keepdim=True)
    entropies, dices = [logits.new_zeros(len(logits), 0)], [logits.new_zeros(len(logits), 0)]
    for some in ids.split(CHUNK):
        truth = (values[None] == some[:, None, None]).any(1).float()  # [n, P]
        entropies.append(softplus - logits @ truth.T / max(1, logits.shape[1]))
        total = probs.sum(1, keepdim=True) + truth.sum(1)
        dices.append(1 - (2 * probs @ truth.T + 1) / (total + 1))
    return torch.cat(entropies, 1), torch.cat(dices, 1)


def assign(costs: Mapping[str, Tensor], weights: Mapping[str, float]) -> tuple[Tensor, Tensor]:
    """Pair queries and objects at the least total cost (Kuhn, 1955), one to one.

    Args:
        costs: terms [Q, N] by name.
        weights: a factor for each term.

    Returns:
        Indices of queries and of objects, both [min(Q, N)], on the costs' device.

    Raises FloatingPointError naming the terms that are not finite.
    """
    terms = {name: cost.detach().cpu().numpy() for name, cost in costs.items()}
    wrong = [
        f"{name} ({(~np.isfinite(term)).sum()} of {term.size} values)"
        for name, term in terms.items()
        if not np.isfinite(term).all()
    ]
    if wrong:
        raise FloatingPointError(
            f"matching: the cost is not finite in {', '.join(wrong)}; the training diverged "
            "(lower the learning rate, clip gradients) or an image holds NaN or infinities"
        )
    total = sum(weights[name] * term.astype(np.float64) for name, term in terms.items())
    pairs = np.stack(linear_sum_assignment(total))
    queries, objects = torch.from_numpy(pairs).to(next(iter(costs.values())).device)
    return queries, objects
