"""Published Mask DINOs of other layouts are refused: what came, what was expected, the way out."""

import pytest
import torch
from maskdino_published import answers, make_head, published_weights

from microtome.heads.maskdino_weights import load_published, other_layout

PIXELS, QUERIES = "sem_seg_head.pixel_decoder.", "sem_seg_head.predictor."
PROJECT, WIDE = PIXELS + "input_proj.{}.0.weight", PIXELS + "transformer.encoder.layers.0.linear1."


@pytest.fixture
def state():
    """Of the layout that is read: 32, 24 and 16 channels, coarsest first."""
    return published_weights(answers()["state"])


def finest_first(state):
    first, last = PROJECT.format(0), PROJECT.format(2)
    state[first], state[last] = state[last], state[first]


def with_a_fourth_level(state):
    state[PROJECT.format(3)] = torch.ones(256, 32, 3, 3)


def wider_inside(state):
    state[WIDE + "weight"], state[WIDE + "bias"] = torch.ones(2048, 256), torch.ones(2048)


def learnt_queries(state):
    state[QUERIES + "query_feat.weight"] = torch.ones(100, 256)
    for name in [name for name in state if ".enc_output" in name]:
        del state[name]


ORDER, COUNT = r"low2high\), of \[16, 24, 32\]", r"it encodes 4 levels"
WIDTH, LEARNT = "encoder is 2048 wide", "queries are learnt"


@pytest.mark.parametrize(
    "changes, messages",
    [
        ([finest_first], [ORDER]),
        ([with_a_fourth_level], [COUNT]),
        ([wider_inside], [WIDTH]),
        ([learnt_queries], [LEARNT]),  # those of ADE20K and Cityscapes
        ([finest_first, wider_inside], [ORDER, WIDTH]),
        ([finest_first, with_a_fourth_level, wider_inside], ["4 levels", "low2high", WIDTH]),
    ],
)
def test_other_layouts_are_refused_with_all_that_differs(state, changes, messages, tmp_path):
    for change in changes:
        change(state)
    path, head = tmp_path / "other.pth", make_head()
    before = {name: value.clone() for name, value in head.state_dict().items()}
    torch.save({"model": state}, path)
    with pytest.raises(ValueError, match=r"other\.pth: .*another layout") as error:
        load_published(head, str(path))
    for message in messages:
        error.match(message)
    error.match(r"3 encoded levels, FEATURE_ORDER: high2low.*_3s\.yaml.*leave `pretrained` out")
    assert str(error.value).count("; ") == len(messages) - 1
    assert all(value.equal(before[name]) for name, value in head.state_dict().items())


def test_the_layout_that_is_read_is_not_refused(state):
    assert other_layout(state) == []
    for index in range(3):  # a plain ViT's levels are all as wide
        state[PROJECT.format(index)] = torch.ones(256, 32, 1, 1)
    assert other_layout(state) == []


def test_other_files_are_left_to_other_checks():
    assert other_layout({"encoder.weight": torch.ones(1)}) == []
