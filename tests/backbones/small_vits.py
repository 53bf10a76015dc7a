"""What tests of our own vision transformer share."""

import torch
from torch import nn

TINY = {"embed_dim": 48, "depth": 2, "num_heads": 4}


def stirred(model):
    """Tables and bottlenecks that do something."""
    torch.manual_seed(0)
    for name, value in model.named_parameters():
        if "rel_pos" in name or "tables" in name or "norm3" in name:
            nn.init.normal_(value, std=0.5)
    return model.eval()


def close(x, y, tolerance):
    assert (x - y).abs().max() <= tolerance * y.abs().max()
