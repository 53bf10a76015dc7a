"""Normalisation, once: from unit range to what the network wants, by statistics of whole sources.

C channels, *S spatial shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from ..backbones import Normalisation
from ..data.stores import measure
from ..structures import DataSample, Intensity

Kind = Literal["backbone", "zscore", "percentile", "dataset"]
FLAT = 1e-6  # in unit range: a channel with less contrast is not stretched further

Statistics = tuple[Tensor | Sequence[float], Tensor | Sequence[float]]  # to subtract, to divide by


class Normaliser(nn.Module):
    """(image - shift) / scale, per channel.

    Args:
        kind: where shift and scale come from. `backbone`: the statistics its weights were trained
            with; `zscore`: mean and deviation of each source; `percentile`: the 1st to the 99.8th
            of each source become 0…1; `dataset`: mean and deviation of the training set.
        published: the backbone's statistics.
        in_channels: C.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, kind: Kind, published: Normalisation, in_channels: int) -> None:
        super().__init__()
        if kind not in get_args(Kind):
            raise ValueError(f"normalisation: expected one of {get_args(Kind)}, got {kind!r}")
        self.kind, self.published = kind, published
        if kind == "dataset":  # saved with the weights, since nothing else knows them
            self.register_buffer("mean", torch.full((in_channels,), torch.nan))
            self.register_buffer("std", torch.full((in_channels,), torch.nan))

    @property
    def needs_statistics(self) -> bool:
        """Whether the training set's are still unknown."""
        return self.kind == "dataset" and bool(self.mean.isnan().any())

    def set_statistics(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Give the training set's mean and deviation per channel, in unit range.

        Raises ValueError unless the kind is `dataset` and the lengths are C.
        """
        if self.kind != "dataset":
            raise ValueError(f"normalisation is {self.kind!r}: it takes no statistics")
        if len(mean) != len(self.mean) or len(std) != len(self.std):
            raise ValueError(f"expected {len(self.mean)} means and deviations: {mean}, {std}")
        self.mean.copy_(torch.as_tensor(mean))
        self.std.copy_(torch.as_tensor(std))

    def forward(self, samples: Sequence[DataSample]) -> list[Tensor]:
        """Normalise the images [C, *S] of samples, in float32.

        Raises ValueError for published statistics on images whose white was only measured, and
        while the training set's statistics are unknown.
        """
        if self.kind == "backbone" and self.published != Normalisation():
            _check_stated(samples)
        if self.needs_statistics:
            raise ValueError(
                "normalisation: dataset needs the training set's mean and deviation: call "
                "`set_statistics(mean, std)` first (training does)"
            )
        return [_normalised(s.image, self._statistics(s)) for s in samples]

    def _statistics(self, sample: DataSample) -> Statistics:
        if self.kind == "backbone":
            return self.published
        if self.kind == "dataset":
            return self.mean, self.std
        known = sample.intensity or _measured(sample)
        if self.kind == "zscore":
            return known.mean, known.std
        return known.low, [high - low for low, high in zip(known.low, known.high, strict=True)]


def check_samples(samples: Sequence[DataSample], in_channels: int, spatial_dims: int) -> None:
    """Raise ValueError listing all samples that the network cannot take, each once."""
    wrong = []
    for sample in samples:
        axes, channels = sample.image.ndim - 1, sample.image.shape[0]
        if axes != spatial_dims:
            wrong.append(f"{_name(sample)} has {axes} axes, expected {spatial_dims}")
        elif channels != in_channels:
            wrong.append(
                f"{_name(sample)} has {channels} channels, expected {in_channels}: set the "
                "reader's `channels` (rgb, grey, as_is) or the backbone's `in_channels`"
            )
        elif sample.intensity is not None and len(sample.intensity.mean) != channels:
            known = len(sample.intensity.mean)
            wrong.append(f"{_name(sample)} has {channels} channels but statistics of {known}")
    if wrong or not samples:
        raise ValueError("; ".join(dict.fromkeys(wrong)) or "expected at least one sample")


def _normalised(image: Tensor, statistics: Statistics) -> Tensor:
    view = (-1, *[1] * (image.ndim - 1))
    image = image.float()
    shift, scale = (torch.as_tensor(s).to(image).view(view) for s in statistics)
    return (image - shift) / scale.clamp(min=FLAT)


def _measured(sample: DataSample) -> Intensity:
    """A sample that does not know its source is taken for one."""
    image = sample.image.detach().float().cpu()
    return measure(image, ((0.0, 1.0),) * len(image), True)


def _check_stated(samples: Sequence[DataSample]) -> None:
    """Unit range that is relative to one image has nothing to do with another data set's mean."""
    known = [(s, s.intensity) for s in samples if s.intensity is not None]
    relative = [(s, i.levels) for s, i in known if not i.stated]
    if relative:
        sample, levels = relative[0]
        raise ValueError(
            f"{_name(sample)}: black and white were measured in this one image ({levels}), so the "
            "backbone's published mean and deviation do not fit; state `levels: [black, white]` "
            "for the reader, or choose `normalisation: percentile`"
        )


def _name(sample: DataSample) -> str:
    return str(sample.meta.get("name", "an image"))
