"""The choice among backends: the first that does not refuse, or the one asked for."""

import pytest
import torch

from microtome.ops import Backend, choose, using


def backend(name, *refusals, lacking=""):
    return Backend(name, torch.neg, lambda x: list(refusals), {}, lacking)


def test_the_first_that_does_not_refuse_is_taken():
    backends = backend("gpu", "no"), backend("cpu"), backend("reference")
    assert choose("neg", backends, torch.ones(1)).name == "cpu"


def test_what_the_machine_lacks_is_a_reason():
    backends = backend("gpu", lacking="no CUDA"), backend("reference")
    assert choose("neg", backends, torch.ones(1)).name == "reference"
    with using(neg="gpu"), pytest.raises(ValueError, match=r"neg: .*gpu: no CUDA"):
        choose("neg", backends, torch.ones(1))


def test_a_choice_is_kept_or_an_error():
    backends = backend("gpu", "too odd", "too big"), backend("reference")
    with using(neg="reference"):
        assert choose("neg", backends, torch.ones(1)).name == "reference"
        with using(neg="gpu"), pytest.raises(ValueError, match="gpu: too odd; gpu: too big"):
            choose("neg", backends, torch.ones(1))
        assert choose("neg", backends, torch.ones(1)).name == "reference"
    with using(other="gpu"):
        assert choose("neg", backends, torch.ones(1)).name == "reference"
    with using(neg="abacus"), pytest.raises(ValueError, match=r"neg: no backend.*gpu, reference"):
        choose("neg", backends, torch.ones(1))


def test_when_all_refuse_all_say_why():
    with pytest.raises(ValueError, match="gpu: far; reference: wide"):
        choose("neg", (backend("gpu", "far"), backend("reference", "wide")), torch.ones(1))
