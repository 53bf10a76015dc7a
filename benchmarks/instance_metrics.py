"""Object metrics against what others make of the same label maps and masks.

Matching: from two label maps to true positives and what is left at IoU 0.5, 0.75 and 0.9. The peers
begin with scikit-image's contingency table, and with a dense table [N, M] as StarDist and Cellpose
build it, assigned by scipy. COCO: from masks that lie ready, label layers here, run lengths there.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from faster_coco_eval import COCO, COCOeval_faster
from pycocotools import coco as slow_coco
from pycocotools import mask as run_lengths
from pycocotools.cocoeval import COCOeval
from scipy.optimize import linear_sum_assignment
from skimage.metrics import contingency_table
from torch import Tensor

from microtome.evaluation.coco import detections
from microtome.evaluation.coco_precision import coco_numbers
from microtome.evaluation.instance_scores import THRESHOLDS, tally
from microtome.evaluation.overlap import overlap, overlap_of_maps
from microtome.structures import LabelLayers

from .harness import TINY, Case

IMAGES, OBJECTS, CAP, SIDE = (2, 10, 30, 128) if TINY else (40, 150, 500, 512)
VOLUMES = (((24, 48, 48), 20),) if TINY else (((64, 192, 192), 400), ((256, 256, 256), 2000))
Counts = list[tuple[int, int, int]]


def cases() -> Iterator[Case]:
    for shape, count in VOLUMES:
        for peer, name in ((_contingency, "scikit-image, contingency table"), (_dense, "dense")):
            yield _matching(shape, count, peer, name)
    yield _coco()


def _matching(
    shape: tuple[int, ...], count: int, peer: Callable[[Tensor, Tensor], Counts], name: str
) -> Case:
    found, true = (torch.from_numpy(x) for x in _volume(shape, count))

    def ours() -> Counts:
        table, ids, true_ids = overlap_of_maps([(found, true)])
        sums = tally(table, torch.zeros_like(ids), torch.zeros_like(true_ids), 1)
        return [tuple(x[0, 1 + t].item() for x in sums[:3]) for t in range(len(THRESHOLDS))]  # type: ignore[misc]

    def check(a: Counts, b: Counts) -> None:
        assert a == b and a[0][0] > count / 4 and a[0] != a[-1], (a, b)

    size = "x".join(map(str, shape))
    about = f"matching: {size}, {count} objects"
    work = {"copy": float(found.nbytes + true.nbytes)}
    return Case(about, ours, name, lambda: peer(found, true), check, work)


def _volume(shape: tuple[int, ...], count: int) -> tuple[Any, Any]:
    """Balls that touch and overlap, and the same moved by a pixel or two: int32 maps."""
    random = np.random.default_rng(0)
    radius = int(0.45 * (np.prod(shape) / count) ** (1 / len(shape)))
    axes = np.ogrid[tuple(slice(-radius, radius + 1) for _ in shape)]
    ball = sum(x * x for x in axes) <= radius * radius
    maps = np.zeros((2, *shape), np.int32)
    for number in range(1, count + 1):
        centre = np.array([random.integers(radius + 2, s - radius - 2) for s in shape])
        for labels, at in zip(
            maps, (centre, centre + random.integers(-2, 3, len(shape))), strict=True
        ):
            labels[tuple(slice(c - radius, c + radius + 1) for c in at)][ball] = number
    return maps[0], maps[1]


def _contingency(found: Tensor, true: Tensor) -> Counts:
    """IoU of the pairs that occur; nothing is assigned, since above a half nothing is open."""
    table = contingency_table(found.numpy(), true.numpy()).tocoo()
    found_area, true_area = np.asarray(table.sum(1)).ravel(), np.asarray(table.sum(0)).ravel()
    inside = (table.row > 0) & (table.col > 0)
    shared = table.data[inside]
    iou = shared / (found_area[table.row[inside]] + true_area[table.col[inside]] - shared)
    there = [int((area[1:] > 0).sum()) for area in (found_area, true_area)]
    return [(hits := int((iou >= t).sum()), there[0] - hits, there[1] - hits) for t in THRESHOLDS]


def _dense(found: Tensor, true: Tensor) -> Counts:
    a, b = (x.numpy().ravel().astype(np.int64) for x in (found, true))
    height, width = int(a.max()) + 1, int(b.max()) + 1
    shared = np.bincount(a * width + b, minlength=height * width).reshape(height, width)
    found_area, true_area = shared.sum(1), shared.sum(0)
    rows, columns = found_area[1:] > 0, true_area[1:] > 0
    inner = shared[1:, 1:][rows][:, columns]
    either = found_area[1:][rows][:, None] + true_area[1:][columns][None] - inner
    iou, counts = inner / either, []
    for t in THRESHOLDS:
        cost = -(iou >= t).astype(float) - iou / (2 * min(iou.shape))
        hits = int((iou[linear_sum_assignment(cost)] >= t).sum())
        counts.append((hits, int(rows.sum()) - hits, int(columns.sum()) - hits))
    return counts


def _coco() -> Case:
    random = np.random.default_rng(0)
    images = [_image(random) for _ in range(IMAGES)]
    layers = [
        (LabelLayers.from_masks(torch.from_numpy(f)), torch.from_numpy(s), _layers(t))
        for t, f, s in images
    ]
    there, found = _annotations(images)
    truth, results = _loaded(COCO, there, found)

    def ours() -> list[float]:
        made = []
        for masks, scores, true in layers:
            labels = torch.zeros(len(masks), dtype=torch.int64)
            none = torch.zeros(len(true), dtype=torch.int64)
            table = overlap(masks, true)
            sides = (labels, scores), (none, None)
            made.append(detections(table, *sides, 1, bounds=(32**2, 96**2), cap=CAP))
        once = torch.ones(1, len(made))
        every = coco_numbers(made, once, sized=False)
        sized = coco_numbers(made, once, sized=True)["coco_ap"][0, 1]
        return [*(float(v[0, 1]) for v in every.values()), *sized.tolist()]

    def peer() -> list[float]:
        return _evaluated(COCOeval_faster, truth, results)

    def check(a: list[float], b: list[float]) -> None:
        exact = _evaluated(COCOeval, *_loaded(slow_coco.COCO, there, found))
        np.testing.assert_allclose(a, exact, atol=1e-6)
        np.testing.assert_allclose(b, exact, atol=1e-6)
        assert 0.05 < a[0] < 0.95

    name = f"COCO AP: {IMAGES} images x {OBJECTS} objects, cap {CAP}"
    return Case(name, ours, "faster-coco-eval", peer, check)


def _layers(masks: Any) -> LabelLayers:
    return LabelLayers.from_masks(torch.from_numpy(masks))


def _image(random: Any) -> tuple[Any, Any, Any]:
    """Masks of discs of the truth, of more detections, and these' scores."""
    y, x = np.ogrid[:SIDE, :SIDE]
    centres, radii = random.random((OBJECTS, 2)) * SIDE, 4 + random.random(OBJECTS) ** 4 * 60
    chosen = np.arange(CAP) % (OBJECTS + 10) % OBJECTS
    moved = centres[chosen] + random.normal(0, 2, (CAP, 2))
    grown = radii[chosen] * (1 + random.normal(0, 0.1, CAP))

    def discs(at: Any, r: Any) -> Any:
        return np.stack(
            [(y - c[0]) ** 2 + (x - c[1]) ** 2 <= s * s for c, s in zip(at, r, strict=True)]
        )

    found = discs(moved, grown)
    seen = found.any((1, 2))
    return discs(centres, radii), found[seen], random.random(int(seen.sum()))


def _annotations(images: Any) -> tuple[Any, list[Any]]:
    there: list[Any] = []
    found = []
    for number, (true, masks, scores) in enumerate(images, 1):
        for mask in true:
            about = {"id": len(there) + 1, "iscrowd": 0, "area": int(mask.sum())}
            there.append(about | _encoded(mask, number))
        found += [
            _encoded(mask, number) | {"score": float(score)}
            for mask, score in zip(masks, scores, strict=True)
        ]
    pictures = [{"id": n, "height": SIDE, "width": SIDE} for n in range(1, len(images) + 1)]
    kinds = [{"id": 1, "name": "disc"}]
    return {"images": pictures, "annotations": there, "categories": kinds}, found


def _encoded(mask: Any, image: int) -> dict[str, Any]:
    rle = run_lengths.encode(np.asfortranarray(mask.astype(np.uint8)))
    rle["counts"] = rle["counts"].decode()
    return {"image_id": image, "category_id": 1, "segmentation": rle}


def _loaded(kind: Any, there: Any, found: Any) -> tuple[Any, Any]:
    with contextlib.redirect_stdout(io.StringIO()):
        truth = kind()
        truth.dataset = there
        truth.createIndex()
        return truth, truth.loadRes([dict(one) for one in found])


def _evaluated(kind: Any, truth: Any, results: Any) -> list[float]:
    """AP, AP50, AP75 and AP of small, medium, large objects, from the table of precisions."""
    with contextlib.redirect_stdout(io.StringIO()):
        judge = kind(truth, results, "segm")
        judge.params.maxDets = [CAP]
        judge.evaluate()
        judge.accumulate()
    precision = np.asarray(judge.eval["precision"])[:, :, 0, :, 0]  # T, recalls, sizes
    means = np.where(precision[:, 0] < 0, np.nan, precision.mean(1))
    every = means[:, 0]
    return [every.mean(), every[0], every[5], *means[:, 1:].mean(0)]
