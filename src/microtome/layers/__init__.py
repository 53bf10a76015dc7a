"""The N-D alphabet: the number of axes is an argument, or read off the input."""

from .attention import Block
from .channels import ChannelNorm, ResponseNorm
from .conv import (
    FrozenNorm,
    Norm,
    conv,
    conv_block,
    doubling,
    group_norm,
    max_pool,
    norm,
    patches,
    upsampling,
)
from .conv_residual import ConvResidual
from .deformable import DeformableAttention
from .deformable_conv import DeformableConv
from .drop_path import drop_path_rates
from .initial import draw_weights
from .mask_unit_attention import MaskUnitBlock
from .mask_units import rolled, units_of, unrolled
from .positions import centres, sincos_positions
from .resize import every_second, pool_to, resize_cubic, resize_maps
from .token_positions import rotary_positions

__all__ = [
    "Block",
    "ChannelNorm",
    "ConvResidual",
    "DeformableAttention",
    "DeformableConv",
    "FrozenNorm",
    "MaskUnitBlock",
    "Norm",
    "ResponseNorm",
    "centres",
    "conv",
    "conv_block",
    "doubling",
    "draw_weights",
    "drop_path_rates",
    "every_second",
    "group_norm",
    "max_pool",
    "norm",
    "patches",
    "pool_to",
    "resize_cubic",
    "resize_maps",
    "rolled",
    "rotary_positions",
    "sincos_positions",
    "units_of",
    "unrolled",
    "upsampling",
]
