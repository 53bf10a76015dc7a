"""The whole segmenter as one compiled graph, and with activations computed again."""

from functools import partial

import pytest
import torch

from microtome.backbones.pretrained import PretrainedViT
from microtome.backbones.vit import ViT
from microtome.backbones.vit_adapter import ViTAdapter
from microtome.heads.mask2former import Mask2Former
from microtome.models import Segmenter
from microtome.ops import using
from microtome.structures import Classes, DataSample, Segmentation
from microtome.training.recompute import recompute_blocks

CLASSES = Classes(("background", "gland", "nucleus"))
ADAPTER = {"interactions": 2, "num_heads": 4, "prior_width": 8}
SHAPES = {2: ((32, 48), (27, 40)), 3: ((8, 16, 16), (7, 16, 12))}


def segmenter(dims, depth=2, **head):
    """Mask2Former on a ViT-Adapter, small."""
    torch.manual_seed(0)
    patch = (4, 8, 8)[-dims:]
    vit = ViT(1, patch, 32, depth, 4, num_registers=1, spatial_dims=dims)
    small = {"num_queries": 6, "hidden": 32, "encoder_layers": 2, "decoder_layers": 3}
    make = partial(Mask2Former, num_heads=4, num_points=64, **{**small, **head})
    return Segmenter(ViTAdapter(vit, **ADAPTER), make, CLASSES)


def batch(dims):
    """Two images of different sizes: one is padded."""
    generator = torch.Generator().manual_seed(1)
    return [
        DataSample(
            torch.rand(1, *shape, generator=generator),
            Segmentation(torch.randint(0, 3, shape, generator=generator)),
        )
        for shape in SHAPES[dims]
    ]


def assert_equal_when_compiled(model, images, backend):
    torch.compiler.reset()
    with torch.no_grad():
        expected = model(images)
        found = torch.compile(model, fullgraph=True, backend=backend)(images)
    for value, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(value, wanted, rtol=1e-4, atol=1e-4)


BACKENDS = ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dims", [2, 3])
def test_a_segmenter_is_one_graph(dims, backend):
    model = segmenter(dims).eval()
    assert_equal_when_compiled(model, model.prepare(batch(dims))[0], backend)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_a_step_of_training_is_one_graph(backend):
    """With gradients and recomputed blocks, around one of timm's transformers."""
    vit = PretrainedViT("vit_tiny_patch16_224", options={"depth": 2, "embed_dim": 48})
    make = partial(
        Mask2Former, num_queries=6, hidden=32, encoder_layers=2, decoder_layers=3, num_heads=4
    )
    torch.manual_seed(0)
    model = Segmenter(ViTAdapter(vit, **ADAPTER), make, CLASSES).train()
    images, _ = model.prepare([DataSample(torch.rand(3, 64, 96))])
    expected = gradients(model, model(images))
    recompute_blocks(model)
    torch.compiler.reset()
    found = gradients(model, torch.compile(model, fullgraph=True, backend=backend)(images))
    assert_close(found, expected)


def gradients(model, prediction):
    """By name, of a sum over everything that is predicted."""
    generator = torch.Generator().manual_seed(2)
    parts = [(x * torch.randn(x.shape, generator=generator)).sum() for x in prediction]
    model.zero_grad()
    sum(parts).backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def assert_close(found, expected):
    assert found.keys() == expected.keys()
    for name, value in found.items():
        scale = expected[name].abs().max().item()
        torch.testing.assert_close(value, expected[name], rtol=1e-3, atol=1e-4 * scale + 1e-6)


def kept_for_backward(model, images):
    """Bytes that autograd saves in one forward pass, parameters aside, each tensor once."""
    own = {p.data_ptr() for p in model.parameters()}
    seen = {}

    def pack(x):
        if x.data_ptr() not in own:
            seen[x.untyped_storage().data_ptr()] = (x.untyped_storage().nbytes(), x)
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        prediction = model(images)
    return sum(size for size, _ in seen.values()), prediction


@pytest.mark.parametrize("dims", [2, 3])
def test_recomputed_blocks_give_equal_gradients_from_less_memory(dims):
    model = segmenter(dims, depth=6, encoder_layers=4, decoder_layers=6).train()
    images, _ = model.prepare(batch(dims))
    names = list(model.state_dict())
    plain = {"deform_attn": "reference"}  # compiled, it keeps little in the first place
    with using(**plain):
        whole, prediction = kept_for_backward(model, images)
        expected = gradients(model, prediction)
        assert recompute_blocks(model) >= 6 + 2 + 4 + 4 + 6  # blocks, injectors, extractors, layers
        less, prediction = kept_for_backward(model, images)
        found = gradients(model, prediction)
    assert found.keys() == expected.keys()
    assert all(value.equal(expected[name]) for name, value in found.items())
    assert less < whole / 3, (less, whole)
    assert list(model.state_dict()) == names
