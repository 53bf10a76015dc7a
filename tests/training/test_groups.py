import pytest
from torch import nn

from microtome.training.groups import parameter_groups


def test_norms_biases_and_tokens_do_not_decay():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.GroupNorm(2, 8), nn.Linear(8, 4))
    model.register_parameter("token", nn.Parameter(nn.init.zeros_(nn.Linear(1, 8).weight.T[None])))
    decay, rest = parameter_groups(model)
    assert [tuple(p.shape) for p in decay["params"]] == [(8, 3, 3, 3), (4, 8)]
    assert "weight_decay" not in decay
    assert rest["weight_decay"] == 0.0
    assert len(rest["params"]) == 5  # two biases of layers, the norm's two, the token


def test_a_frozen_model_is_refused():
    with pytest.raises(ValueError, match="nothing to train"):
        parameter_groups(nn.Linear(2, 2).requires_grad_(False))
