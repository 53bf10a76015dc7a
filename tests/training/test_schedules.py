"""Schedules are functions of the step: torch's own are the oracle where the definitions meet."""

import pytest
import torch
from torch.optim import SGD
from torch.optim import lr_scheduler as torchs

from microtome.training.cycles import Cyclic, OneCycle
from microtome.training.plateau import Patience, Plateau
from microtome.training.schedules import (
    Constant,
    Cosine,
    Exponential,
    MultiStep,
    Polynomial,
    Step,
)

TOTAL = 50


def rates(make, steps=TOTAL):
    """The rates torch uses at each step, with a base rate of 1."""
    optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = make(optimizer)
    used = []
    for _ in range(steps):
        used.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return used


ALIKE = {
    "cosine": (
        Cosine(0, final=0.1),
        lambda o: torchs.CosineAnnealingLR(o, TOTAL, eta_min=0.1),
    ),
    "poly": (Polynomial(0, power=0.9), lambda o: torchs.PolynomialLR(o, TOTAL, power=0.9)),
    "exponential": (
        Exponential(0, final=0.01),
        lambda o: torchs.ExponentialLR(o, 0.01 ** (1 / TOTAL)),
    ),
    "step": (Step(0, every=12, gamma=0.5), lambda o: torchs.StepLR(o, 12, 0.5)),
    "step in fractions": (Step(0, every=0.24, gamma=0.5), lambda o: torchs.StepLR(o, 12, 0.5)),
    "multistep": (MultiStep(0, at=[0.2, 35]), lambda o: torchs.MultiStepLR(o, [10, 35], 0.1)),
    "one cycle": (
        OneCycle(0.3, start=0.04, final=4e-6),
        lambda o: torchs.OneCycleLR(o, 1.0, TOTAL, cycle_momentum=False),
    ),
    "cyclic": (
        Cyclic(0, period=10, low=0.1),
        lambda o: torchs.CyclicLR(o, 0.1, 1.0, 5, cycle_momentum=False),
    ),
    "shrinking": (
        Cyclic(0, period=10, low=0.1, shrink=0.5),
        lambda o: torchs.CyclicLR(o, 0.1, 1.0, 5, mode="triangular2", cycle_momentum=False),
    ),
    "constant": (Constant(0), lambda o: torchs.ConstantLR(o, 1.0)),
}


@pytest.mark.parametrize("name", ALIKE)
def test_a_schedule_is_as_torchs(name):
    ours, theirs = ALIKE[name]
    assert [ours.factor(s, TOTAL) for s in range(TOTAL)] == pytest.approx(rates(theirs), abs=1e-9)


@pytest.mark.filterwarnings("ignore:The epoch parameter in `scheduler.step")  # SequentialLR's own
def test_warm_up_is_as_torchs_before_the_schedule():
    def make(optimizer):
        rise = torchs.LinearLR(optimizer, 1 / 6, 1.0, total_iters=5)
        fall = torchs.CosineAnnealingLR(optimizer, TOTAL - 5)
        return torchs.SequentialLR(optimizer, [rise, fall], [5])

    ours = Cosine(warmup=5)
    assert [ours.factor(s, TOTAL) for s in range(TOTAL)] == pytest.approx(rates(make), abs=1e-9)
    assert Cosine(warmup=0.1).factor(2, TOTAL) == ours.factor(2, TOTAL)


@pytest.mark.parametrize(
    "schedule", [Constant, Cosine, Polynomial, Exponential, Step, MultiStep, Cyclic, Plateau]
)
def test_warm_up_is_linear_and_never_zero(schedule):
    rise = [schedule(warmup=4).factor(s, 100) for s in range(4)]
    assert rise == pytest.approx([0.2, 0.4, 0.6, 0.8])


@pytest.mark.parametrize("schedule", [Cosine, Polynomial, Exponential])
def test_nothing_rises_again_after_the_end(schedule):
    made = schedule(warmup=0.1, final=0.2)
    assert made.factor(111, 111) == made.factor(500, 111) == pytest.approx(0.2)


VALUES = [0.1, 0.3, 0.3, 0.29, 0.31, 0.5, float("nan"), 0.5, 0.4, 0.5, 0.1, 0.1, 0.1, 0.1]


@pytest.mark.parametrize("mode", ["max", "min"])
@pytest.mark.parametrize("patience", [0, 2])
def test_plateau_is_as_torchs(mode, patience):
    optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torchs.ReduceLROnPlateau(
        optimizer, mode, 0.5, patience, threshold=0.05, threshold_mode="abs", min_lr=0.1, eps=0
    )
    ours = Plateau(0, patience, gamma=0.5, min_change=0.05, final=0.1)
    for value in VALUES:
        theirs.step(value)
        ours.observe(value, mode)
        assert ours.factor(7, 10) == pytest.approx(optimizer.param_groups[0]["lr"])
    assert ours.scale < 1


def test_plateau_goes_on_from_its_state():
    first, second = Plateau(0, 1), Plateau(0, 1)
    for value in VALUES[:5]:
        first.observe(value, "max")
    second.load_state_dict(first.state_dict())
    for value in VALUES[5:]:
        first.observe(value, "max")
        second.observe(value, "max")
    assert first.state_dict() == second.state_dict()


def test_patience_is_over_after_more_than_its_limit():
    patience = Patience(2)
    said = []
    for value in (5.0, 5.0, 6.0, 7.0):
        patience.observe(value, "min")
        said.append(patience.over)
    assert said == [False, False, False, True]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Cosine(warmup=-1), "warmup: expected a number >= 0"),
        (lambda: Cosine(final=2), "final: expected a number from 0 to 1"),
        (lambda: Exponential(final=0), "above 0"),
        (lambda: Step(every=0), "every"),
        (lambda: MultiStep(at=[-1]), "at"),
        (lambda: Cyclic(period=0), "period"),
        (lambda: OneCycle(start=-1), "start"),
        (lambda: Plateau(patience=-1), "patience"),
    ],
)
def test_what_makes_no_sense_is_refused(make, says):
    with pytest.raises(ValueError, match=says):
        make()
