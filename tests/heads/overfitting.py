"""What tests share that train a model on a few drawn images until it knows them by heart."""

from functools import partial

import torch
from torch import nn

from microtome.heads.mask2former import Mask2Former
from microtome.models import Segmenter


def learnt(data, backbone, task, steps, learning_rate, *, neck=None, per_step=1, **options):
    """Train a Mask2Former on all of `data`; return results, truths and the loss of each step."""
    torch.manual_seed(0)
    samples = [data.load(i) for i in range(len(data))]
    settings = {"num_queries": 16, "hidden": 32, "encoder_layers": 1, "decoder_layers": 3}
    settings |= {"num_heads": 4, "num_points": 1024, **options}
    head = partial(Mask2Former, task=task, **settings)
    model = Segmenter(backbone(), head, data.classes, neck, normalisation="zscore")
    spent = train(model, samples, steps, learning_rate, per_step)
    return model.predict_samples(samples), [s.truth for s in samples], spent


def train(model, samples, steps, learning_rate, per_step):
    """A few samples in each step, in turn; the model is in eval mode then, its losses are given."""
    optimiser = torch.optim.AdamW(model.train().parameters(), learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, learning_rate, steps, pct_start=0.1)
    spent = []
    for step in range(steps):
        batch = [samples[(step * per_step + i) % len(samples)] for i in range(per_step)]
        images, targets = model.prepare(batch)
        optimiser.zero_grad()
        total = model.total(model.losses(model(images, targets), targets))
        total.backward()
        spent.append(total.item())
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimiser.step()
        schedule.step()
    model.eval()
    return spent


def dices(result, truth):
    """Of every class that is there."""
    found = result.decided().classes
    pairs = [(found == kind, truth.classes == kind) for kind in truth.classes.unique()]
    return [2 * (one & other).sum() / (one.sum() + other.sum()) for one, other in pairs]


def hits(result, truth):
    """Objects found with an IoU above a half, objects found, and objects there."""
    found, there = (s.instances.masks.dense().tensor.flatten(1).float() for s in (result, truth))
    shared = found @ there.T
    overlap = shared / (found.sum(1, keepdim=True) + there.sum(1) - shared)
    return (overlap > 0.5).sum().item(), len(found), len(there)
