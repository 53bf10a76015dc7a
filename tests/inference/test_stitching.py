from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from microtome.geometry import window
from microtome.inference import TileGrid, predict
from microtome.inference.evidence import PAIR
from microtome.inference.fragments import ROW, fragments_of
from microtome.inference.joining import join
from microtome.inference.running import TileRun
from microtome.inference.stitch import Stitched, decided
from microtome.structures import Instances, LabelLayers, Segmentation
from microtome.testing.known_objects import (
    BlankImage,
    KnownObjects,
    TruthReader,
    in_raster_order,
    panoptic_quality,
)


@pytest.mark.parametrize(
    ("shape", "tiles"),
    [((90, 110), (32, 48, 200)), ((45, 60, 50), (32, (40, 24, 50)))],
)
@pytest.mark.parametrize("overlap", [16, 5])
def test_the_truth_comes_back_whatever_the_tiles(shape, tiles, overlap):
    """Objects of at most 16 pixels: whole in a tile for an overlap of 16, joined for one of 5."""
    truth = KnownObjects(shape, cell=16)
    ids = truth.read(window(shape))
    wanted = in_raster_order(ids)
    for seed, tile in enumerate(tiles):
        found = predict(
            BlankImage(shape), TruthReader(truth, seed), tile=tile, overlap=overlap
        ).instances
        assert np.array_equal(found.masks.maps[0].numpy(), wanted)
        true_ids = ids.ravel()[np.unique(wanted, return_index=True)[1][1:]]
        assert found.labels.tolist() == (true_ids % 3).tolist()
        np.testing.assert_allclose(found.scores.numpy(), (true_ids % 7 + 1) / 8)
        assert torch.equal(found.boxes.tensor, found.masks.boxes())
        assert found.masks.ids.tolist() == list(range(1, len(true_ids) + 1))


def test_objects_are_of_the_kinds_that_are_hard():
    unit = KnownObjects((32, 32, 32)).unit
    assert np.unique(unit).tolist() == [0, 1, 2, 3, 4]
    holes = ndimage.binary_fill_holes(unit == 1) & (unit != 1)
    assert (unit[holes] == 2).any()
    sizes = [np.ptp(np.argwhere(unit == 3), axis=0) + 1]
    assert sizes[0].tolist() == [4, 4, 30]
    assert (ndimage.binary_dilation(unit == 3) & (unit == 4)).any()
    assert ndimage.label(unit == 1, np.ones((3, 3, 3)))[1] == 1


class Parts:
    """A segmenter that knows nothing beyond its tile: connected pixels are an object."""

    def __init__(self, foreground):
        self.foreground = foreground

    def predict_samples(self, samples):
        results = []
        for s in samples:
            start = [int(o) for o in s.placement.offset]
            here = tuple(slice(a, a + n) for a, n in zip(start, s.shape, strict=True))
            maps, count = ndimage.label(self.foreground[here])
            masks = LabelLayers(torch.from_numpy(maps)[None], torch.arange(1, count + 1))
            instances = Instances(torch.ones(count, dtype=torch.long), masks=masks)
            results.append(Segmentation(instances=instances))
        return results


def test_a_cut_object_is_taken_whole_from_the_tile_that_has_it():
    """A U whose legs a tile sees as two objects: right where one tile holds all of it."""
    image = np.zeros((64, 64), bool)
    image[20:40, 20:24] = image[20:40, 30:34] = image[36:40, 20:34] = True
    for tile, overlap, wanted in ((40, 24, 1), (32, 20, 1), (34, 4, 2)):
        found = predict(BlankImage((64, 64)), Parts(image), tile=tile, overlap=overlap).instances
        assert len(found) == wanted, (tile, overlap)
        assert np.array_equal(found.masks.maps[0].numpy() > 0, image)


def test_objects_larger_than_tiles_are_joined():
    image = np.zeros((60, 200), bool)
    image[10:20] = image[40:50, 10:190] = True
    found = predict(BlankImage(image.shape), Parts(image), tile=48, overlap=8).instances
    assert np.array_equal(found.masks.maps[0].numpy(), in_raster_order(ndimage.label(image)[0]))


def test_borders_where_nothing_is_seen():
    """What a tile misses at its border comes from its neighbour, if that overlaps enough."""
    shape = (100, 100)
    truth = KnownObjects(shape, cell=16)
    ids = truth.read(window(shape))

    def quality(overlap):
        reader = TruthReader(truth, blind=4)
        found = predict(BlankImage(shape), reader, tile=48, overlap=overlap).instances
        return panoptic_quality(found.masks.maps[0].numpy(), ids)

    assert quality(26) == 1
    assert quality(9) < 0.99
    assert quality(0) < 0.95


def rows_of(*given):
    """Rows of (tile, owner, depth, cut), each of 10 pixels, first pixels in the order given."""
    rows = np.zeros(len(given), ROW)
    for place, (tile, owner, depth, cut) in enumerate(given):
        rows[place] = (1, 0.5, 10, place, depth, cut, tile, owner)
    return rows


def pairs_of(*given):
    return np.array(list(given), PAIR)


NONE = np.zeros(0, np.int64)


def test_the_tile_that_sees_an_object_deepest_decides():
    rows = rows_of((0, 1, 0.1, False), (1, 1, 0.4, False), (2, 1, 0.2, False))
    pairs = pairs_of((0, 1, 9, True), (1, 2, 9, True), (0, 2, 9, True))
    assert join(rows, pairs, NONE).ids.tolist() == [0, 1, 0]


def test_equally_deep_the_first_tile_decides():
    rows = rows_of((3, 3, 0.25, False), (4, 4, 0.25, False))
    assert join(rows, pairs_of((0, 1, 10, True)), NONE).ids.tolist() == [1, 0]


def test_touching_objects_that_overlap_a_little_stay_two():
    rows = rows_of((0, 0, 0.3, False), (1, 1, 0.3, False))
    assert join(rows, pairs_of((0, 1, 4, False)), NONE).ids.tolist() == [1, 2]


def test_a_blob_at_a_border_does_not_join_what_others_see_whole():
    """Tile 0 sees one thing, cut; tile 1 sees two whole ones in its place."""
    rows = rows_of((0, 0, 0.1, True), (1, 1, 0.4, False), (1, 1, 0.4, False))
    pairs = pairs_of((0, 1, 5, False), (0, 2, 5, False))
    assert join(rows, pairs, NONE).ids.tolist() == [0, 1, 2]


def test_what_only_a_tile_s_rim_shows_is_dropped_unless_its_owner_failed():
    rows = rows_of((0, 1, 0.1, True), (0, 1, 0.1, False), (0, 0, 0.3, False))
    nothing = np.zeros(0, PAIR)
    assert join(rows, nothing, NONE).ids.tolist() == [0, 0, 1]
    assert join(rows, nothing, np.array([1])).ids.tolist() == [1, 2, 3]


def test_joined_pieces_vote_for_the_class():
    rows = rows_of((0, 0, 0.1, True), (1, 1, 0.1, True), (2, 2, 0.1, True))
    rows["area"], rows["label"], rows["score"] = [10, 30, 35], [2, 2, 1], [1, 0.5, 0]
    pairs = pairs_of((0, 1, 5, True), (1, 2, 5, True))
    joined = join(rows, pairs, NONE)
    assert joined.ids.tolist() == [1, 1, 1]
    assert joined.objects.labels.tolist() == [2]
    assert joined.objects.scores.tolist() == pytest.approx([25 / 75])


def test_ids_above_24_bits():
    shape = (40, 40)
    grid = TileGrid.plan(shape, 24, 8)
    reader = TruthReader(KnownObjects(shape, cell=16))
    samples = BlankImage(shape)
    answers = dict(TileRun(samples, reader, grid, 2).answers(range(len(grid))))
    found = {n: fragments_of(r.instances, n, grid) for n, r in answers.items()}
    objects = decided(grid, found.get)
    stitched = Stitched(grid, found.get, objects)
    few = stitched.read(window(shape)).astype(np.int64)
    objects.ids[objects.ids > 0] += 2**31
    many = stitched.read(window(shape)).astype(np.int64)
    assert np.array_equal(many, np.where(few > 0, few + 2**31, 0))


def test_models_without_masks_are_refused():
    class Boxes:
        def predict_samples(self, samples):
            return [Segmentation(instances=Instances(torch.zeros(1))) for _ in samples]

    with pytest.raises(ValueError, match="the model gave none"):
        predict(BlankImage((20, 20)), Boxes(), tile=16)
