"""A loss of dense class maps in which a wrong answer costs its distance from the truth."""

from __future__ import annotations

import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor


def boundary(logits: Tensor, classes: Tensor, ignore_index: int) -> Tensor:
    """Mean probability times signed distance (Kervadec et al., MIDL 2019), over classes and pixels.

    It is below zero where the answer is good, and says little while it is bad: add it to a loss of
    overlap. The distances are computed on the CPU, in every step. Computed in float32 whatever
    autocast says; zero with a gradient (of zero) when every pixel is ignored.

    Args:
        logits: [B, K, *S].
        classes: [B, *S] integers, 0…K - 1 or `ignore_index`.
        ignore_index: the class of pixels that are not judged.
    """
    maps, kinds = classes.detach().cpu(), range(logits.shape[1])
    distances = torch.stack(
        [torch.stack([signed_distance(one, k, ignore_index) for k in kinds]) for one in maps]
    )
    valid = (classes != ignore_index)[:, None]
    costs = logits.float().softmax(1) * distances.to(logits.device) * valid
    return costs.sum() / (valid.sum() * len(kinds)).clamp(min=1)


def signed_distance(classes: Tensor, kind: int, ignore_index: int) -> Tensor:
    """Distance of each pixel from the edge of a class in one image, in pixels.

    Outside it is that to the nearest pixel of the class; inside it is 1 minus that to the nearest
    pixel of another class, so 0 on the rim. Where ignored pixels begin there is no edge.

    Args:
        classes: [*S] integers, on the CPU.
        kind: the class.
        ignore_index: the class of pixels that are not judged.

    Returns:
        [*S] float32; all zero where the image shows only this class, or nothing of it.
    """
    here = classes == kind
    others = ~here & (classes != ignore_index)
    if not here.any() or not others.any():
        return torch.zeros(classes.shape)
    outside, inside = (
        torch.from_numpy(distance_transform_edt(~part.numpy())) for part in (here, others)
    )
    return torch.where(here, 1 - inside, outside).float()
