"""Procedural tissue sections: an anatomy, stained and seen through lamp, lens and camera."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from .anatomy import GLAND, LUMEN, NUCLEUS, STROMA, Anatomy, draw_anatomy
from .fields import Drawing, Floats, smooth_noise

# Optical densities of the dyes in red, green, blue (Ruifrok and Johnston, 2001).
DYES = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]])


def draw_tissue(rng: np.random.Generator, size: int) -> Drawing:
    """Draw one stained section of `size` x `size` pixels; its objects are the nuclei."""
    anatomy = draw_anatomy(rng, size)
    return Drawing(stain(rng, anatomy), anatomy.classes, anatomy.ids)


def stain(rng: np.random.Generator, anatomy: Anatomy) -> npt.NDArray[np.uint8]:
    """Stain an anatomy: [3, *S] uint8.

    Dyes absorb after Beer and Lambert, `light = lamp * exp(-amount @ density)`. Their hue and
    strength, the lamp's colour and evenness, focus and noise differ from image to image.
    """
    dyes = (DYES + rng.normal(0, 0.07, DYES.shape)).clip(0.02)
    dyes *= rng.uniform(0.65, 1.35, (2, 1))
    amount = np.stack(_uptake(rng, anatomy))  # [2, *S]
    density = np.tensordot(dyes.T, amount, 1)
    density = ndimage.gaussian_filter(density, (0, *[rng.uniform(0.5, 0.9)] * 2))
    light = _lamp(rng, density.shape[1:]) * np.exp(-density)
    light = light + rng.normal(0, rng.uniform(0.008, 0.02), light.shape)
    return np.asarray((255 * light).round().clip(0, 255), np.uint8)


def _uptake(rng: np.random.Generator, anatomy: Anatomy) -> tuple[Floats, Floats]:
    """How much haematoxylin and eosin each pixel holds."""
    classes, shape = anatomy.classes, anatomy.classes.shape
    grain, cloud = smooth_noise(rng, shape, (2.5, 2.5)), smooth_noise(rng, shape, (30, 30))
    threads = _threads(rng, anatomy)
    blue = 0.03 + 0.01 * cloud
    pink = 0.03 + 0.015 * cloud
    stroma, cells = classes == STROMA, (classes == GLAND) | (classes == NUCLEUS)
    pink = np.where(stroma, rng.uniform(0.35, 0.75) * (0.25 + 1.5 * threads), pink)
    blue = np.where(stroma, rng.uniform(0.1, 0.3) * (0.6 + 0.8 * threads), blue)
    foam = 1 - 0.6 * anatomy.depth * (smooth_noise(rng, shape, (5, 5)) > 0.4)
    pink = np.where(cells, rng.uniform(0.35, 0.75) * (1 + 0.12 * grain + 0.12 * cloud) * foam, pink)
    blue = np.where(cells, rng.uniform(0.1, 0.35) * (1.15 - 0.5 * anatomy.depth) * foam, blue)
    mucus = rng.uniform(0, 0.25) * (smooth_noise(rng, shape, (12, 12)) - 0.6).clip(0)
    pink = np.where(classes == LUMEN, pink + mucus, pink)
    blue = np.where(classes == NUCLEUS, _chromatin(rng, anatomy, grain), blue)
    return blue.astype(np.float32), pink.astype(np.float32)


def _threads(rng: np.random.Generator, anatomy: Anatomy) -> Floats:
    """Collagen in 0…1: noise smeared along the level lines of the fibre potential."""
    shape = anatomy.fibres.shape
    down, right = np.gradient(anatomy.fibres)
    along = np.stack([-right, down]) / np.hypot(down, right).clip(1e-3)
    here = np.indices(shape, dtype=np.float32)
    threads = smooth_noise(rng, shape, (1.5, 1.5)) + 0.5 * smooth_noise(rng, shape, (5, 5))
    for step in (1, 2, 4, 6):  # ever longer, as a Gaussian along the line would be
        back, forth = (
            ndimage.map_coordinates(threads, here + s * along, order=1, mode="nearest")
            for s in (-step, step)
        )
        threads = threads + back + forth
    threads = (threads - threads.mean()) / threads.std()
    fading = smooth_noise(rng, shape, (24, 24))
    return np.asarray(1 / (1 + np.exp(-1.5 * threads - 0.6 * fading)), np.float32)


def _chromatin(rng: np.random.Generator, anatomy: Anatomy, grain: Floats) -> Floats:
    """Haematoxylin in nuclei: each its own strength, a darker rim, and clumps."""
    strength = rng.uniform(0.75, 1.4, int(anatomy.ids.max()) + 1)[anatomy.ids]
    rim = np.exp(-ndimage.distance_transform_edt(anatomy.ids > 0) / 1.5)
    return np.asarray(strength * (0.85 + 0.35 * rim + 0.12 * grain), np.float32)


def _lamp(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """[3, *S] the light that reaches the camera through empty glass."""
    y, x = np.meshgrid(*[np.linspace(-1, 1, s) for s in shape], indexing="ij")
    tilt = rng.normal(0, 0.025, 2)
    evenness = 1 + tilt[0] * y + tilt[1] * x - rng.uniform(0, 0.04) * (y**2 + x**2)
    colour = rng.uniform(0.9, 0.98) * (1 + rng.normal(0, 0.015, 3))
    return np.asarray(colour[:, None, None] * evenness, np.float32)
