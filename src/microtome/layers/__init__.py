"""The N-D alphabet: the number of axes is an argument, or read off the input."""

from .conv import conv, conv_block, group_norm
from .resize import resize_maps

__all__ = ["conv", "conv_block", "group_norm", "resize_maps"]
