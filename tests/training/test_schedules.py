"""Schedules are functions of the step, so their values can be written down."""

import pytest

from microtome.training.schedules import Constant, Cosine


def test_warm_up_is_linear_and_never_zero():
    assert [Constant(warmup=4).factor(s, 100) for s in range(5)] == pytest.approx(
        [0.2, 0.4, 0.6, 0.8, 1.0]
    )


def test_cosine_falls_from_one_to_final():
    schedule = Cosine(warmup=0.1, final=0.2)
    assert schedule.factor(11, 111) == pytest.approx(1.0)
    assert schedule.factor(61, 111) == pytest.approx(0.6)  # half way
    assert schedule.factor(111, 111) == pytest.approx(0.2)
    assert schedule.factor(500, 111) == pytest.approx(0.2)  # it never rises again


def test_a_negative_warm_up_is_refused():
    with pytest.raises(ValueError, match="warmup"):
        Cosine(warmup=-1)
