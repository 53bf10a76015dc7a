"""Losses of a product: the values and gradients of plain PyTorch, whatever they are weighed by."""

import pytest
import torch

from microtome.losses.products import ProductLoss

ROWS, CHANNELS, COLUMNS = 7, 3, 5


def judge(product, at):
    """Two terms, one of which depends on the row."""
    number = torch.arange(ROWS, dtype=product.dtype)[at, None]
    return torch.stack([product.square().sum(), (number * product.sin()).sum()])


def factors(rows=ROWS):
    generator = torch.Generator().manual_seed(0)
    shapes = (rows, CHANNELS), (CHANNELS, COLUMNS)
    return [
        torch.randn(s, generator=generator, dtype=torch.float64).requires_grad_() for s in shapes
    ]


@pytest.mark.parametrize("weights", [(1.0, 1.0), (2.0, 6.0), (0.0, 3.0), (1.0, 0.0), (0.0, 0.0)])
@pytest.mark.parametrize("at_once", [1, 3, 7, 64])
def test_it_is_the_plain_product(weights, at_once):
    """Weights as expected (1 to 3), also scaled by any number, and others."""
    rows, columns = factors()
    asked = torch.tensor(weights, dtype=torch.float64)
    plain = judge(rows @ columns, slice(None))
    expected = torch.autograd.grad(plain, (rows, columns), asked)
    terms = ProductLoss(judge, (1.0, 3.0), at_once)(rows, columns)
    torch.testing.assert_close(terms, plain)
    torch.testing.assert_close(torch.autograd.grad(terms, (rows, columns), asked), expected)


@pytest.mark.parametrize("asked, times", [((2.0, 6.0), 3), ((1.0, 1.0), 6)])
def test_it_is_computed_again_only_for_other_weights(asked, times):
    calls = []

    def counted(product, at):
        calls.append(at)
        return judge(product, at)

    rows, columns = factors()
    terms = ProductLoss(counted, (1.0, 3.0), 3)(rows, columns)
    terms.backward(torch.tensor(asked, dtype=torch.float64), retain_graph=True)
    assert len(calls) == times
    once = rows.grad.clone()
    terms.backward(torch.tensor(asked, dtype=torch.float64))
    torch.testing.assert_close(rows.grad, 2 * once)


def test_without_gradients_none_are_computed():
    rows, columns = factors()
    loss = ProductLoss(judge, (1.0, 3.0), 3)
    with torch.no_grad():
        terms = loss(rows, columns)
    torch.testing.assert_close(terms, loss(rows, columns))
    assert not terms.requires_grad and loss(rows, columns).requires_grad


def test_no_rows_have_gradients_too():
    rows, columns = factors(0)
    terms = ProductLoss(judge, (1.0, 3.0), 3)(rows, columns)
    by_rows, by_columns = torch.autograd.grad(terms.sum(), (rows, columns))
    assert terms.tolist() == [0, 0] and by_rows.shape == rows.shape and by_columns.eq(0).all()
