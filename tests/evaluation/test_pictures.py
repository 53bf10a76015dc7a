from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from microtome.evaluation import curves, overlay
from microtome.evaluation.curves import legend
from microtome.evaluation.page import Entry, Page
from microtome.evaluation.planes import coloured, painted, planes
from microtome.structures import Classes

CLASSES = Classes(("back", "red", "blue"), colours=((0, 0, 0), (255, 0, 0), (0, 0, 255)))


def count(picture, colour):
    return int((np.asarray(picture) == colour).all(-1).sum())


def test_contours_are_opaque_fill_translucent_background_clear_and_ignored_striped():
    image = np.full((40, 60, 3), 100, np.uint8)
    labels = torch.zeros(40, 60, dtype=torch.uint8)
    labels[10:30, 10:30] = 1
    labels[10:30, 40:50] = 255
    out = painted(image, labels, CLASSES)
    assert out[20, 10].tolist() == [255, 0, 0]
    assert out[20, 20].tolist() == [162, 60, 60]  # 0.6 * 100 + 0.4 * colour
    assert out[5, 5].tolist() == out[20, 9].tolist() == [100, 100, 100]
    stripes = {tuple(p) for p in out[10:30, 40:50].reshape(-1, 3)}
    assert stripes == {(106, 106, 106), (154, 154, 154)}


def test_planes_of_an_image_and_of_a_volume():
    assert [p.name for p in planes((8, 9))] == [""]
    cut = planes((4, 8, 10), (2.0, 1.0, 0.5))
    assert [p.name for p in cut] == ["z = 2", "y = 4", "x = 5"]
    assert [p.size for p in cut] == [(8, 5), (8, 5), (8, 8)]
    with pytest.raises(ValueError, match="at least two axes"):
        planes((5,))


@pytest.mark.parametrize(
    ("values", "colour"),
    [
        ((0.6,), (153, 153, 153)),
        ((0.6, 1.0), (153, 255, 153)),
        ((1.0, 0.6, 0.2), (255, 153, 51)),
        ((1.0, 0.6, 0.2, 0.9, 0.9), (255, 153, 51)),
        ((0.1, 0.05, 0.0), (255, 128, 0)),  # dark: brightened
    ],
)
def test_any_number_of_channels_has_a_colour(values, colour):
    image = torch.tensor(values).view(-1, 1, 1).expand(-1, 6, 6)
    (pixels,) = coloured([image], [(3, 12)])
    assert pixels.shape == (3, 12, 3)
    assert pixels[1, 5].tolist() == pytest.approx(list(colour), abs=1)


def test_black_stays_black():
    (pixels,) = coloured([torch.zeros(3, 4, 4)], [(4, 4)])
    assert not pixels.any()


def test_image_truth_and_prediction_stand_side_by_side():
    image, found = torch.full((3, 400, 400), 0.5), torch.zeros(400, 400, dtype=torch.uint8)
    found[100:200, 100:200] = 1
    truth = torch.zeros(400, 400, dtype=torch.int64)
    truth[100:200, 100:200] = 2
    truth[:50] = 255
    picture = overlay(image, found, CLASSES, "a name", truth)
    assert picture.width == 3 * 400 + 2 * 10 + 2 * 16
    left, right = (np.asarray(picture)[:, a : a + 400] for a in (16 + 410, 16 + 820))
    contour = 100 * 100 - 96 * 96
    assert count(left, CLASSES.palette[2]) == count(right, CLASSES.palette[1]) == contour
    lonely = overlay(image, found, CLASSES)
    assert lonely.width == 2 * 400 + 10 + 2 * 16
    assert lonely.height < picture.height


@pytest.mark.parametrize("shape", [(3000, 5000), (40, 30), (900, 8), (1, 300), (5, 40, 60)])
def test_pictures_of_any_shape_fit_a_screen(shape):
    image, found = torch.rand(1, *shape), torch.zeros(shape, dtype=torch.int32)
    picture = overlay(image, found, CLASSES, spacing=(1.0,) * len(shape))
    assert 200 <= picture.width <= 1600
    assert 80 <= picture.height <= 1300


def test_shapes_must_agree():
    with pytest.raises(ValueError, match=r"truth has the shape \[4, 5\], its image \[4, 4\]"):
        overlay(torch.rand(1, 4, 4), torch.zeros(4, 4), CLASSES, truth=torch.zeros(4, 5))


def test_the_legend_wraps_and_names_every_class_of_a_small_table():
    panel = np.zeros((10, 300, 3), np.uint8)
    entries = [Entry(f"a rather long name {i}", (i, 200, 9)) for i in range(7)]
    one = Page([[panel]], ["image"], [""], entries[:1]).draw()
    many = Page([[panel]], ["image"], [""], entries).draw()
    assert many.width == one.width
    assert many.height > one.height + 60
    assert all(count(many, entry.colour) > 100 for entry in entries)


def test_the_legend_of_a_large_table_names_what_is_there():
    names = tuple(f"class {i}" for i in range(150))
    table = Classes(names, colours=tuple((100, 100 + i, 1) for i in range(150)))
    found = torch.zeros(50, 50, dtype=torch.uint8)
    found[10:20] = 140
    picture = overlay(torch.zeros(3, 50, 50), found, table)
    assert count(picture, table.palette[140]) > 200
    assert count(picture, table.palette[70]) == 0


ROW = {"epoch": 0, "lr": 1e-3, "seconds": 3.0, "train/loss": 1.0}


@pytest.mark.parametrize(
    "history",
    [
        [],
        [ROW],
        [ROW | {"val/loss": 2.0, "val/miou": float("nan")}, ROW | {"epoch": 1, "val/miou": 0.3}],
        [ROW | {"epoch": i} for i in range(200)],
    ],
)
def test_curves_of_any_history(tmp_path, history):
    curves(history, tmp_path / "run" / "training_history.png")
    with Image.open(tmp_path / "run" / "training_history.png") as picture:
        assert picture.size == (1210, 770)
        assert len(set(picture.convert("L").tobytes())) > 20


def test_errors_are_red_and_what_is_not_judged_is_striped():
    truth = torch.zeros(40, 40, dtype=torch.uint8)
    truth[:, 20:] = 1
    truth[30:] = 255
    found = torch.zeros(40, 40, dtype=torch.uint8)
    found[:, 24:] = 1
    image = torch.full((3, 40, 40), 0.5)
    plain = overlay(image, found, CLASSES, truth=truth)
    wrong = overlay(image, found, CLASSES, truth=truth, errors=True)
    assert wrong.width > plain.width
    red = (230, 30, 60)
    scale = 320 // 40  # a panel is enlarged to 320 pixels
    tinted = tuple(round(0.6 * 128 + 0.4 * c) for c in red)
    swatch = 14 * 14
    assert count(plain, red) == count(plain, tinted) == 0
    assert count(wrong, red) - swatch + count(wrong, tinted) == 30 * 4 * scale**2
    assert overlay(image, found, CLASSES, errors=True).width < plain.width  # no truth, no errors


@pytest.mark.parametrize("shape", [(400, 400), (30, 400, 400)])
def test_without_an_image_there_is_no_column_for_it(shape):
    """Maps lie on white, as boxes of the legend do."""
    found = torch.zeros(shape, dtype=torch.uint8)
    found[..., 100:200, 100:200] = 1
    truth = found.long()
    picture = overlay(None, found, CLASSES, "a name", truth, errors=True)
    with_image = overlay(torch.zeros(1, *shape), found, CLASSES, "a name", truth, errors=True)
    assert picture.width < with_image.width
    if len(shape) == 2:
        assert picture.width == 3 * 400 + 2 * 10 + 2 * 16
    assert count(picture, (0, 0, 0)) < count(with_image, (0, 0, 0)) / 100
    with pytest.raises(ValueError, match="nothing to draw"):
        overlay(None, None, CLASSES)


@pytest.mark.parametrize("above", [True, False])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_legend_lies_beside_the_curves(above, count):
    figure = Figure(figsize=(5.5, 3.5), dpi=110)
    axes = figure.subplots()
    for height in range(count):
        axes.plot([0, 1], [height, 0.5], label="pixel accuracy, best 0.304 in epoch 4")
    legend(axes, above=above)
    FigureCanvasAgg(figure).draw()
    box = axes.get_legend().get_window_extent()
    for line in axes.lines:
        y = axes.transData.transform(line.get_xydata())[:, 1]
        assert (y < box.y0).all() if above else (y > box.y1).all()
    assert axes.bbox.y0 < box.y0 and box.y1 < axes.bbox.y1
