from __future__ import annotations

import numpy as np
import pytest

from microtome.geometry import extent
from microtome.inference.blocks import Blocks
from microtome.inference.tiles import TileGrid

CASES = [
    ((40,), 16, 8, (10,)),
    ((33, 50), (16, 20), 6, (4, 8)),
    ((20, 31, 17), (8, 12, 9), (2, 4, 3), (5, 4, 16)),
    ((5, 6, 7, 8), 4, 1, (2, 3, 4, 4)),
]


def blocks_of(shape, tile, overlap, chunk, written=()):
    grid = TileGrid.plan(shape, tile, overlap)
    return grid, Blocks(grid, chunk, written)


@pytest.mark.parametrize("case", CASES)
def test_blocks_cover_the_image_once_and_share_no_chunk(case):
    _, blocks = blocks_of(*case)
    shape, _, _, chunk = case
    hits = np.zeros(shape, int)
    for number in range(len(blocks)):
        hits[blocks[number]] += 1
        for part, step, size in zip(blocks[number], chunk, shape, strict=True):
            assert part.start % step == 0
            assert part.stop % step == 0 or part.stop == size
    assert (hits == 1).all()


def test_a_block_is_as_many_chunks_as_go_into_a_tile_or_one():
    _, blocks = blocks_of((100, 100, 100), (40, 30, 8), 4, (16, 16, 16))
    assert blocks.size == (32, 16, 16)
    assert extent(blocks[len(blocks) - 1]) == (4, 4, 4)
    assert len(blocks) == 4 * 7 * 7


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("seed", [0, 1])
def test_a_block_is_ready_at_its_last_tile_and_frees_tiles_at_their_last_block(case, seed):
    """Beside what the definition says, whatever the order of tiles and whatever is written."""
    rng = np.random.default_rng(seed)
    grid, every = blocks_of(*case)
    written = set(rng.permutation(len(every))[: len(every) // 3].tolist())
    _, blocks = blocks_of(*case, written)
    left = set(blocks.left())
    assert left == set(range(len(every))) - written

    def touch(tile, block):
        pairs = zip(grid[tile], every[block], strict=True)
        return all(a.start < b.stop and b.start < a.stop for a, b in pairs)

    needs = {b: {t for t in range(len(grid)) if touch(t, b)} for b in left}
    there: set[int] = set()
    done: set[int] = set()
    dropped: set[int] = set()
    for tile in rng.permutation(len(grid)).tolist():
        assert blocks.needed(tile) == any(tile in tiles for tiles in needs.values())
        if not blocks.needed(tile):
            continue
        there.add(tile)
        ready = blocks.after(tile)
        assert set(ready) == {b for b in left - done if needs[b] <= there}
        for block in ready:
            done.add(block)
            unused = set(blocks.free(block))
            still = set().union(*(needs[b] for b in left - done), set())
            assert unused == needs[block] - still
            dropped |= unused
    assert done == left
    assert dropped == there


def test_what_waits_is_forgotten():
    """In the order of tiles, counts are held for a band of the image, not for all of it."""
    grid, blocks = blocks_of((400, 16, 16), 8, 4, (8, 8, 8))
    most = 0
    for tile in range(len(grid)):
        for block in blocks.after(tile):
            blocks.free(block)
        most = max(most, len(blocks._missing) + len(blocks._uses))
    assert most <= 2 * (3 * 3 * 2 + 2 * 2 * 2)
    assert not blocks._missing
    assert not blocks._uses
