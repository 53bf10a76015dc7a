from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from microtome.data.stores import ImageReadError, SourceInfo
from microtome.geometry import window
from microtome.inference import Tiling, estimate, predict, predict_to
from microtome.inference.blocks import Blocks
from microtome.inference.ledger import Ledger
from microtome.inference.tiles import TileGrid
from microtome.structures import Segmentation
from microtome.testing.known_objects import (
    BlankImage,
    KnownObjects,
    TruthReader,
    in_raster_order,
    panoptic_quality,
)
from microtome.testing.labels_on_disk import LabelsOnDisk

SHAPE, CHUNK = (40, 60, 50), (16, 16, 16)
TILING = Tiling(tile=(24, 32, 32), overlap=16, batch_size=2)


def wanted(shape=SHAPE):
    return in_raster_order(KnownObjects(shape, cell=16).read(window(shape)))


@dataclass
class Counting:
    """A model, and how many tiles it was asked for."""

    model: object
    tiles: int = 0
    stop_after: float = float("inf")

    def predict_samples(self, samples):
        self.tiles += len(samples)
        if self.tiles > self.stop_after:
            raise KeyboardInterrupt
        return self.model.predict_samples(samples)


def reader(shape=SHAPE):
    return TruthReader(KnownObjects(shape, cell=16))


@pytest.mark.parametrize("workers", [0, 2])
def test_objects_in_a_store(tmp_path, workers):
    told, store = [], LabelsOnDisk(None, SHAPE, CHUNK)
    outcome = predict_to(
        BlankImage(SHAPE),
        reader(),
        store,
        work=tmp_path / "work",
        tiling=TILING,
        workers=workers,
        progress=lambda *now: told.append(now),
    )
    assert np.array_equal(store.values, wanted())
    assert store.finished
    assert outcome.failed == {}
    memory = predict(BlankImage(SHAPE), reader(), tile=64).instances
    assert outcome.objects.labels.tolist() == memory.labels.tolist()
    np.testing.assert_array_equal(outcome.objects.scores, memory.scores.numpy())
    assert told[-1][0] == told[-1][1]
    assert [done for done, _ in told] == list(range(1, len(told) + 1))
    assert not (tmp_path / "work" / "tiles").exists()


@pytest.mark.parametrize("shape", [(50, 70), (20, 40, 36)])
def test_classes_in_a_store_are_those_in_memory(memory, network, tmp_path, shape):
    image = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0))
    model, chunk = network(len(shape)), (16,) * len(shape)
    store = LabelsOnDisk(None, shape, chunk, np.uint8)
    tiling = Tiling(tile=16, overlap=0.5, batch_size=3)
    outcome = predict_to(memory(image), model, store, work=tmp_path, tiling=tiling)
    expected = predict(memory(image), model, tile=16, overlap=0.5, batch_size=3).classes
    assert np.array_equal(store.values, expected.numpy())
    assert outcome == (None, {})
    assert store.writes == len(Blocks(tiling.grid(memory(image).info), chunk))


@dataclass
class Scores:
    """Scores instead of objects: class 1 wherever there is one."""

    truth: KnownObjects

    def predict_samples(self, samples):
        found = []
        for s in samples:
            start = [int(o) for o in s.placement.offset]
            here = tuple(slice(a, a + n) for a, n in zip(start, s.shape, strict=True))
            there = torch.from_numpy(self.truth.read(here) > 0)
            found.append(Segmentation(scores=torch.stack([~there, there]).float()))
        return found


@dataclass
class Stopping:
    """A store that fails at its n-th write."""

    inner: LabelsOnDisk
    left: int
    chunk: tuple = CHUNK

    def write(self, region, values):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        self.inner.write(region, values)


@pytest.mark.parametrize("kind", ["objects", "classes"])
@pytest.mark.parametrize(("tiles", "blocks"), [(5, 99), (99, 0), (99, 3)])
def test_a_stopped_run_goes_on(tmp_path, kind, tiles, blocks):
    truth = KnownObjects(SHAPE, cell=16)
    model = TruthReader(truth) if kind == "objects" else Scores(truth)
    expected = wanted() if kind == "objects" else truth.read(window(SHAPE)) > 0
    store = LabelsOnDisk(None, SHAPE, CHUNK)
    first = Counting(model, stop_after=tiles)
    with pytest.raises(KeyboardInterrupt):
        predict_to(BlankImage(SHAPE), first, Stopping(store, blocks), work=tmp_path, tiling=TILING)
    with (tmp_path / "ledger.jsonl").open("a") as f:
        f.write('{"blo')  # as a kill leaves it
    (tmp_path / "tiles" / ".part-999999-00000001.npz").write_bytes(b"half")
    second = Counting(model)
    outcome = predict_to(BlankImage(SHAPE), second, store, work=tmp_path, tiling=TILING)
    assert np.array_equal(store.values, expected)
    total = len(TILING.grid(BlankImage(SHAPE).info))
    if kind == "objects":
        assert second.tiles <= total - min(tiles, total) + 4  # two batches may have been on the way
    third = Counting(model)
    again = predict_to(BlankImage(SHAPE), third, store, work=tmp_path, tiling=TILING)
    assert third.tiles == 0
    assert again.failed == outcome.failed == {}
    if kind == "objects":
        assert again.objects.labels.tolist() == outcome.objects.labels.tolist()


@pytest.mark.parametrize("kind", ["objects", "classes"])
def test_what_cannot_be_read_is_reported(tmp_path, kind):
    """A damaged pixel costs the tiles that hold it, and nothing that other tiles see."""
    truth = KnownObjects(SHAPE, cell=16)
    model = TruthReader(truth) if kind == "objects" else Scores(truth)
    source = BlankImage(SHAPE, damaged=(0, 0, 0))
    store = LabelsOnDisk(None, SHAPE, CHUNK)
    outcome = predict_to(source, model, store, work=tmp_path, tiling=TILING)
    assert outcome.failed == {"[0:24, 0:32, 0:32]": "blank: damaged"}
    if kind == "classes":
        lost = store.values == 255
        assert lost[:8, :16, :16].all()
        assert lost.sum() == 8 * 16 * 16
        assert np.array_equal(store.values[~lost], truth.read(window(SHAPE))[~lost] > 0)
    else:
        far = store.values[24:, 32:, 32:]
        assert panoptic_quality(far, truth.read(window(SHAPE))[24:, 32:, 32:]) == 1
        assert not store.values[:8, :16, :16].any()


def test_confidence_of_objects_is_refused_at_the_first_tile(tmp_path):
    model, store, sure = (Counting(reader()), *(LabelsOnDisk(None, SHAPE, CHUNK) for _ in "ab"))
    for _ in range(2):  # the second time it is known from the spool
        with pytest.raises(ValueError, match="scores of objects stand in their table"):
            predict_to(BlankImage(SHAPE), model, store, work=tmp_path, tiling=TILING, sure=sure)
    assert model.tiles <= 2 * TILING.batch_size and not store.finished


def test_nothing_to_read_is_an_error(tmp_path):
    source = BlankImage((16, 16, 16), damaged=(0, 0, 0))
    store = LabelsOnDisk(None, (16, 16, 16), CHUNK)
    with pytest.raises(ImageReadError, match="damaged"):
        predict_to(source, reader(), store, work=tmp_path)
    assert not store.finished


def test_another_run_is_refused(tmp_path):
    store = LabelsOnDisk(None, SHAPE, CHUNK)
    predict_to(BlankImage(SHAPE), reader(), store, work=tmp_path, tiling=TILING)
    with pytest.raises(FileExistsError, match=r"made_by was \{\} and is now"):
        predict_to(
            BlankImage(SHAPE),
            reader(),
            store,
            work=tmp_path,
            tiling=TILING._replace(batch_size=1),
            made_by={"checkpoint": "other"},
        )
    with pytest.raises(ValueError, match="take the mode `sliding`"):
        resize = TILING._replace(mode="resize")
        predict_to(BlankImage(SHAPE), reader(), store, work=tmp_path, tiling=resize)


def test_a_ledger_remembers(tmp_path):
    settings = {"tile": (3, 4)}
    ledger = Ledger(tmp_path / "ledger.jsonl", settings)
    ledger.note(kind="objects")
    ledger.note(failed=3, why="damaged")
    ledger.note(block=7)
    again = Ledger(tmp_path / "ledger.jsonl", settings)
    assert (again.kind, again.failed, again.blocks) == ("objects", {3: "damaged"}, {7})
    assert not again.finished
    first = (tmp_path / "ledger.jsonl").read_text().splitlines()[0]
    assert json.loads(first) == {"settings": {"tile": [3, 4]}}


SCRIPT = """
import sys
from pathlib import Path
from microtome.inference import Tiling, predict_to
from microtome.testing.known_objects import BlankImage, KnownObjects, TruthReader
from microtome.testing.labels_on_disk import LabelsOnDisk

if __name__ == "__main__":
    shape, tile, overlap, cell = eval(sys.argv[1])
    folder, workers = Path(sys.argv[2]), int(sys.argv[3])
    store = LabelsOnDisk(folder / "labels.raw", shape, (32, 32, 32))
    reader = TruthReader(KnownObjects(shape, cell=cell))
    predict_to(BlankImage(shape), reader, store, work=folder / "work", workers=workers,
               tiling=Tiling(tile=tile, overlap=overlap, batch_size=2))
"""


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_killed_runs_give_the_same_labels(tmp_path, workers):
    """SIGKILL at ten moments spread over the run."""
    shape, cell = (96, 128, 128), 32
    (tmp_path / "run.py").write_text(SCRIPT)
    given = repr((shape, 64, 32, cell))
    command = [sys.executable, str(tmp_path / "run.py"), given, str(tmp_path), str(workers)]
    kills, wait = 0, 2.0
    while True:
        child = subprocess.Popen(command)
        try:
            assert child.wait(wait) == 0
            break
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
            kills, wait = kills + 1, wait + 1.5
    assert kills > 0
    found = LabelsOnDisk(tmp_path / "labels.raw", shape, (32, 32, 32)).values
    truth = KnownObjects(shape, cell=cell).read(window(shape))
    assert np.array_equal(found, in_raster_order(truth))
    time.sleep(1)  # workers end with their parent
    left = list((tmp_path / "work").glob("tiles/*"))
    assert left == []


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1, 2])
def test_the_result_does_not_depend_on_tiles(tmp_path, workers):
    shape, cell = (128, 256, 256), 32
    expected = in_raster_order(KnownObjects(shape, cell=cell).read(window(shape)))
    for seed, tile in enumerate((64, 96, 128)):
        store = LabelsOnDisk(None, shape, (64, 64, 64))
        model = TruthReader(KnownObjects(shape, cell=cell), seed)
        tiling = Tiling(tile=tile, overlap=32, batch_size=1 + seed)
        predict_to(
            BlankImage(shape),
            model,
            store,
            work=tmp_path / str(tile),
            tiling=tiling,
            workers=workers,
        )
        assert panoptic_quality(store.values, expected) == 1
        assert np.array_equal(store.values, expected)


@pytest.mark.parametrize("kind", ["objects", "classes"])
def test_an_estimate_before_the_run(kind):
    truth = KnownObjects(SHAPE, cell=16)
    model = Counting(TruthReader(truth) if kind == "objects" else Scores(truth))
    told = estimate(BlankImage(SHAPE), model, TILING)
    grid = TILING.grid(BlankImage(SHAPE).info)
    assert model.tiles == 2 * TILING.batch_size
    assert told.tiles == len(grid) == 3 * 3 * 3
    assert 0 < told.seconds < 60
    assert 2**26 < told.memory < 2**36
    if kind == "classes":
        tile = 2 * 4 * 24 * 32 * 32
        assert told.disk == pytest.approx(2 * 9 * tile, rel=0.01)
    assert str(told).startswith("27 tiles, about 0 min")


def test_tiles_in_micrometres():
    info = SourceInfo("volume", (100, 400, 400), ("c",), (2.0, 0.5, 0.5), "uint8")
    tiling = Tiling(tile=(32, 64, 64), overlap=(0.25, 9.7, 9.7), unit="um").checked()
    assert tiling.grid(info) == TileGrid.plan((100, 400, 400), (16, 128, 128), (0.25, 20, 20))
    with pytest.raises(ValueError, match="volume: a tile in micrometres needs the image's spacing"):
        tiling.grid(info._replace(spacing=None))
    with pytest.raises(ValueError, match=r"tile: expected pixels >= 1.*overlap: expected a frac"):
        Tiling(tile=31.5, overlap=40).checked()
