"""Padding made known to the Mask2Former of transformers, which takes it for image."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from unittest import mock

import torch
from torch import Tensor

from microtome.layers.map_positions import map_extents, sine_positions
from microtome.structures import ImageList


@contextmanager
def told_of_padding(theirs, images: ImageList):
    """Hand the true shapes to those of transformers' parts that have a place for them.

    Its model takes a `pixel_mask` and does not read it. The positions, the encoder's attention and
    the decoder's do take masks of padding; here they get them. Shapes are multiples of 32.
    """

    def valid(shape) -> Tensor:
        height, width = shape
        rows, columns = torch.arange(height), torch.arange(width)
        scale = torch.tensor(shape) / torch.tensor(images.canvas)
        ends = images.shapes * scale
        return (rows < ends[:, :1])[:, :, None] & (columns < ends[:, 1:])[:, None]

    def positions(self, shape, device, dtype, mask=None):
        inside, features = valid(shape[2:]), 2 * self.num_position_features
        theirs = self.build_sine_position_embedding(
            shape, device, dtype, self.num_position_features, self.normalize, self.scale,
            self.temperature, inside,
        )  # fmt: skip
        extents = map_extents(images.shapes, images.canvas, shape[2:])
        ours = sine_positions(shape[2:], extents, features).mT.unflatten(2, shape[2:])
        return torch.where(inside[:, None], theirs, ours.to(dtype))  # group norms see padding too

    def to_encoder(_, args, kwargs):
        masks = [valid(shape) for shape in kwargs["spatial_shapes_list"]]
        kwargs["attention_mask"] = ~torch.cat([m.flatten(1) for m in masks], 1)
        shares = (images.shapes / torch.tensor(images.canvas)).flip(1)  # x, y
        kwargs["valid_ratios"] = shares[:, None].repeat(1, len(masks), 1)
        return args, kwargs

    def from_predictor(_, args, result):
        padding = ~valid(args[2]).flatten(1)[:, None]
        heads = result[1].shape[0] // len(padding)
        padding = padding.repeat_interleave(heads, 0).expand_as(result[1])
        hidden = result[1] | padding
        return result[0], torch.where(hidden.all(-1, keepdim=True), padding, hidden)

    inner = theirs.model
    decoder = inner.pixel_level_module.decoder
    predictor = inner.transformer_module.decoder.mask_predictor
    with ExitStack() as stack:
        stack.enter_context(
            mock.patch.object(type(decoder.position_embedding), "forward", positions)
        )
        for handle in (
            decoder.encoder.register_forward_pre_hook(to_encoder, with_kwargs=True),
            predictor.register_forward_hook(from_predictor),
        ):
            stack.callback(handle.remove)
        yield
