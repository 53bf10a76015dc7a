"""Mask R-CNN beside torchvision's, with equal weights: every step from the image to the losses."""

from types import SimpleNamespace
from unittest import mock

import pytest
import torch
from mask_rcnn_pair import batch, make_pair, theirs_of
from torchvision.ops import boxes

from microtome.heads.mask_rcnn.pasting import pasted
from microtome.heads.mask_rcnn.proposing import Judged
from microtome.structures import Boxes

LOSSES = {
    "objectness": "loss_objectness",
    "proposal": "loss_rpn_box_reg",
    "class": "loss_classifier",
    "box": "loss_box_reg",
    "mask": "loss_mask",
}
PLAIN, ENLARGED, MIXED = [(96, 160)], [(80, 110), (96, 96)], [(96, 128), (120, 96)]


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Theirs suppresses level by level: moved far apart, as it does for few boxes, they round."""
    with mock.patch.object(boxes, "_batched_nms_coordinate_trick", boxes._batched_nms_vanilla):
        yield make_pair(tmp_path_factory.mktemp("torchvision"))


def close(ours, theirs, tolerance=1e-4):
    assert ours.shape == theirs.shape
    if theirs.numel():
        assert (ours - theirs).abs().max() <= tolerance * theirs.abs().max().clamp(min=1e-3)


def partners(ours, theirs):
    """Which of theirs lies at each of ours: those of equal scores come in any order."""
    found = Boxes.from_format(theirs, "xyxy").tensor
    apart = (ours[:, None] - found).abs().amax(2)
    assert apart.amin(1).max() < 0.01
    return apart.argmin(1)


def in_array_order(deltas):
    """`dx dy dw dh` -> `dy dx dh dw`."""
    return deltas.unflatten(-1, (2, 2)).flip(-1).flatten(-2)


@pytest.fixture(scope="module", params=[PLAIN, ENLARGED, MIXED], ids=["plain", "enlarged", "mixed"])
def run(pair, request):
    """One batch through both, with what parts of theirs were given and gave."""
    pair.eval()
    samples, seen = batch(request.param), {}
    parts = ["transform", "backbone", "rpn", "rpn.head", "roi_heads.box_roi_pool"]
    parts += ["roi_heads.mask_roi_pool", "roi_heads.box_predictor", "roi_heads.mask_predictor"]
    hooks = [
        pair.theirs.get_submodule(name).register_forward_hook(
            lambda _, given, out, name=name: seen.update({name: (given, out)})
        )
        for name in parts
    ]
    with torch.no_grad():
        theirs = pair.theirs(theirs_of(samples)[0])
        images, _ = pair.ours.prepare(samples)
        pyramid = pair.ours.features(images)
        prediction = pair.ours.head(pyramid, images)
    for hook in hooks:
        hook.remove()
    return SimpleNamespace(**locals(), head=pair.ours.head)


def test_images_and_maps_are_theirs(run):
    close(run.images.tensor, run.seen["transform"][1][0].tensors)
    maps = list(run.seen["backbone"][1].values())
    for ours, theirs in zip(run.pyramid, maps[:4], strict=True):
        close(ours, theirs)


@torch.no_grad()
def test_anchors_and_proposals_are_theirs(run):
    levels = (*run.pyramid, run.pyramid[-1][..., ::2, ::2])
    grids = [tuple(x.shape[2:]) for x in levels]
    anchors = run.head.proposing.anchors(grids, run.images.canvas, run.images.tensor.device)
    known, maps = run.seen["rpn"][0][:2]
    corners = run.pair.theirs.rpn.anchor_generator(known, list(maps.values()))
    assert Boxes.from_format(corners[0], "xyxy").tensor.equal(torch.cat(anchors))
    logits, deltas = run.head.rpn(levels)
    for ours, theirs in zip(logits, run.seen["rpn.head"][1][0], strict=True):
        close(ours, theirs.permute(0, 2, 3, 1).flatten(1))
    for ours, theirs in zip(deltas, run.seen["rpn.head"][1][1], strict=True):
        theirs = theirs.permute(0, 2, 3, 1).unflatten(-1, (-1, 4)).flatten(1, 3)
        close(ours, in_array_order(theirs))
    proposals = run.head.proposing.propose(Judged(anchors, logits, deltas), run.images.shapes, 1000)
    for ours, theirs in zip(proposals, run.seen["rpn"][1][0], strict=True):
        assert len(ours) == len(theirs) == len(partners(ours, theirs).unique())


@torch.no_grad()
def test_regions_are_pooled_and_judged_as_theirs(run):
    """On their boxes: a thin one at the border jumps with rounding."""
    for part, cells in (("box", (7, 7)), ("mask", (14, 14))):
        (_, parts, _), pooled = run.seen[f"roi_heads.{part}_roi_pool"]
        where = Boxes.from_format(torch.cat(parts), "xyxy").tensor
        index = torch.cat([torch.full_like(p[:, 0], i).long() for i, p in enumerate(parts)])
        close(run.head.regions.pooling(run.pyramid, where, index, cells), pooled)
        judged = run.seen[f"roi_heads.{part}_predictor"][1]
        if part == "mask":
            close(run.head.regions.masks(pooled), judged)
        else:
            logits, deltas = run.head.regions.boxes(pooled)
            close(logits, judged[0])
            close(deltas, in_array_order(judged[1].unflatten(1, (-1, 4))))


def test_objects_are_theirs(run):
    objects, logits = run.prediction.found
    labels = torch.cat([r["labels"] for r in run.theirs])
    assert objects.labels.equal(labels) and len(labels) > 50
    close(objects.scores, torch.cat([r["scores"] for r in run.theirs]))
    results = run.pair.ours.decode(run.prediction, run.images)
    for number, (sample, theirs) in enumerate(zip(run.samples, run.theirs, strict=True)):
        rows = (objects.image_index == number).nonzero().flatten()
        own = Boxes(objects.boxes[rows]).resize(run.images.shapes[number], sample.shape)
        same = partners(own.tensor, theirs["boxes"])
        assert len(same.unique()) == len(theirs["boxes"])
        layers, kept = pasted(
            logits[rows].sigmoid(), own.tensor, sample.shape, "torchvision", layers=1000
        )
        wanted = theirs["masks"][same, 0]
        alike = layers.dense().tensor == (wanted[kept] > 0.5)
        assert alike.float().mean() > 0.9999  # where it is a half, rounding decides
        assert wanted.flatten(1).amax(1)[[i not in kept for i in range(len(rows))]].lt(0.501).all()
        assert results[number].instances.masks.maps.shape[1:] == sample.shape
        assert torch.isin(results[number].instances.scores, objects.scores[rows]).all()


@pytest.mark.parametrize("shapes", [PLAIN, [(96, 160), (96, 96)]], ids=["plain", "mixed"])
def test_equal_chance_gives_equal_losses_and_gradients(pair, shapes):
    pair.train()
    samples = batch(shapes)
    images, targets = pair.ours.prepare(samples)
    torch.manual_seed(3)
    expected = pair.theirs(*theirs_of(samples))
    torch.manual_seed(3)
    prediction = pair.ours(images, targets)
    found = pair.ours.losses(prediction, targets)
    assert len(prediction.regions.deltas) > 20
    for ours, theirs in LOSSES.items():
        torch.testing.assert_close(found[ours], expected[theirs], rtol=1e-4, atol=1e-6)
    for model, losses in zip(pair, (found, expected), strict=True):
        model.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
    for ours, theirs in (
        ("neck.inner_blocks.0.0.weight", "backbone.fpn.inner_blocks.0.0.weight"),
        ("backbone.conv1.weight", "backbone.body.conv1.weight"),
        ("head.regions.boxes.fc6.weight", "roi_heads.box_head.fc6.weight"),
        ("head.regions.masks.up.weight", "roi_heads.mask_predictor.conv5_mask.weight"),
        ("head.rpn.conv.0.0.weight", "rpn.head.conv.0.0.weight"),
    ):
        close(*(m.get_parameter(n).grad for m, n in zip(pair, (ours, theirs), strict=True)), 1e-3)


def test_an_image_without_objects_costs_as_much(pair):
    pair.train()
    samples = batch([(96, 160), (96, 160)], objects=0)
    images, targets = pair.ours.prepare(samples)
    torch.manual_seed(3)
    expected = pair.theirs(*theirs_of(samples))
    torch.manual_seed(3)
    found = pair.ours.losses(pair.ours(images, targets), targets)
    for ours, theirs in LOSSES.items():
        torch.testing.assert_close(found[ours], expected[theirs], rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_the_published_architecture(tmp_path):
    """`maskrcnn_resnet50_fpn` as it is: its layout loads whole, and its losses are ours."""
    pair = make_pair(tmp_path, 128, 192, depth=50)
    assert not pair.ours.backbone.report.missing and not pair.ours.backbone.report.mismatched
    samples = batch([(100, 150), (128, 128)])
    pair.eval()
    with torch.no_grad():
        expected = pair.theirs(theirs_of(samples)[0])
        images, _ = pair.ours.prepare(samples)
        found = pair.ours(images).found
    close(found.objects.scores, torch.cat([r["scores"] for r in expected]))
    assert found.objects.labels.equal(torch.cat([r["labels"] for r in expected]))
    pair.train()
    samples = batch([(128, 192)])
    images, targets = pair.ours.prepare(samples)
    torch.manual_seed(3)
    expected = pair.theirs(*theirs_of(samples))
    torch.manual_seed(3)
    losses = pair.ours.losses(pair.ours(images, targets), targets)
    for ours, theirs in LOSSES.items():
        torch.testing.assert_close(losses[ours], expected[theirs], rtol=1e-4, atol=1e-6)
