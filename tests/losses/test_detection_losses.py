"""Focal loss and losses of boxes against torchvision, and by hand in three dimensions."""

import pytest
import torch
from torch.nn import functional as F
from torchvision.ops import generalized_box_iou_loss, sigmoid_focal_loss

from microtome.losses.boxes import box_costs, box_losses, corners
from microtome.losses.focal import focal_cost, focal_losses


def test_focal_loss_is_that_of_torchvision():
    torch.manual_seed(0)
    logits, labels = 3 * torch.randn(4, 5, 3), torch.randint(0, 4, (4, 5))
    target = F.one_hot(labels, 4)[..., :3].float()
    expected = sigmoid_focal_loss(logits, target, alpha=0.25, gamma=2).sum(-1)
    torch.testing.assert_close(focal_losses(logits, labels), expected)
    assert focal_losses(torch.full((1, 3), 1e4), torch.tensor([3])).isfinite().all()


def test_the_cost_of_a_class_is_what_it_changes():
    torch.manual_seed(0)
    logits, labels = torch.randn(4, 3), torch.tensor([2, 0, 2])
    none = focal_losses(logits, torch.full((4,), 3))
    for column, label in enumerate(labels):
        taken = focal_losses(logits, label.expand(4))
        torch.testing.assert_close(focal_cost(logits, labels)[:, column], taken - none)


def random_boxes(count, dims):
    return torch.cat([torch.rand(count, dims), 0.1 + torch.rand(count, dims)], 1)


def test_losses_of_boxes_are_those_of_torchvision():
    torch.manual_seed(0)
    boxes, targets = random_boxes(6, 2), random_boxes(6, 2)
    apart, unlike = box_losses(boxes, targets)
    torch.testing.assert_close(apart, F.l1_loss(boxes, targets, reduction="none").sum(1))
    expected = generalized_box_iou_loss(corners(boxes), corners(targets))
    torch.testing.assert_close(unlike, expected)


def test_boxes_in_three_dimensions_by_hand():
    """Two cubes of side 2 in unit steps, one step apart along z: IoU 1/3, no empty hull."""
    boxes = torch.tensor([[1.0, 1, 1, 2, 2, 2]])
    apart, unlike = box_losses(boxes, torch.tensor([[2.0, 1, 1, 2, 2, 2]]))
    assert apart.item() == 1 and unlike.item() == pytest.approx(2 / 3)
    apart, unlike = box_losses(boxes, torch.tensor([[5.0, 1, 1, 2, 2, 2]]))
    assert unlike.item() == pytest.approx(1 + 2 / 6)  # of the hull's length 6, 2 are empty


@pytest.mark.parametrize("dims", [2, 3])
def test_costs_of_all_pairs_are_the_losses_of_each(dims):
    torch.manual_seed(0)
    boxes, targets = random_boxes(4, dims), random_boxes(3, dims)
    apart, alike = box_costs(boxes, targets)
    for column, target in enumerate(targets):
        one, other = box_losses(boxes, target.expand(4, -1))
        torch.testing.assert_close(apart[:, column], one)
        torch.testing.assert_close(alike[:, column], other - 1)


def test_no_boxes_cost_nothing():
    none = torch.zeros(0, 6, requires_grad=True)
    apart, unlike = box_losses(none, torch.zeros(0, 6))
    (apart.sum() + unlike.sum()).backward()
    assert none.grad is not None and box_costs(none, torch.zeros(0, 6))[0].shape == (0, 0)
