"""What a store promises."""

from __future__ import annotations

import multiprocessing
import pickle
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from ..data.stores import ImageReadError, LabelSource, Source, open_labels, open_source
from ..geometry import Region, window

_WHITE = 65535


class StoreContract:
    """What a store promises; subclasses say `write`, perhaps `shape`, `options` and `labels`."""

    shape: tuple[int, ...] = (5, 37, 41)  # *S
    options: dict[str, Any] = {}  # of open_source and open_labels
    labels = True  # label maps can be stored too
    dtype = "uint16"

    def write(self, folder: Path, values: npt.NDArray[Any], labels: bool) -> str:
        """Save values [*S] below a folder and return the path that opens them."""
        raise NotImplementedError

    def test_values_come_back(self, tmp_path: Path) -> None:
        """All of them, in array order, as they were saved."""
        values = self._values()
        source = self._source(self.write(tmp_path, values, False))
        assert source.info.shape == self.shape
        assert (_raw(source, window(self.shape)) == values).all()

    def test_regions_are_those_of_the_whole(self, tmp_path: Path) -> None:
        """Single pixels, ragged edges, across chunks, and empty ones."""
        values = self._values()
        source = self._source(self.write(tmp_path, values, False))
        for region in _regions(self.shape):
            assert np.array_equal(_raw(source, region), values[region]), region

    def test_labels_come_back_exactly(self, tmp_path: Path) -> None:
        """As integers, by region."""
        if not self.labels:
            pytest.skip("stores no labels")
        values = self._values()
        labels = open_labels(self.write(tmp_path, values, True), **self.options)
        assert labels.shape == self.shape and labels.dtype.kind in "ui"
        for region in _regions(self.shape):
            assert np.array_equal(labels.read(region), values[region]), region

    def test_it_goes_to_other_processes(self, tmp_path: Path) -> None:
        """To spawned ones by pickling and to forked ones as it is, also after it was read here."""
        path = self.write(tmp_path, self._values(), False)
        sources: list[Source | LabelSource] = [self._source(path)]
        if self.labels:
            (tmp_path / "labels").mkdir()
            label_path = self.write(tmp_path / "labels", self._values(), True)
            sources.append(open_labels(label_path, **self.options))
        region = tuple(slice(1, s) for s in self.shape)
        for source in sources:
            here = source.read(region)
            sent = pickle.dumps(source)
            assert len(sent) < 20_000 + here.nbytes * 4
            for start in ("spawn", "fork"):
                there = _worker(start).submit(_read, sent, region).result(timeout=300)
                assert np.array_equal(here, there), start
            assert np.array_equal(here, _forked_now(source, region))

    def test_threads_may_read_at_once(self, tmp_path: Path) -> None:
        """From one source, without a lock of theirs."""
        values = self._values()
        source = self._source(self.write(tmp_path, values, False))
        regions = list(_regions(self.shape)) * 4
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda region: _raw(source, region), regions))
        for region, part in zip(regions, found, strict=True):
            assert np.array_equal(part, values[region])

    def test_intensity_is_measured_once(self, tmp_path: Path) -> None:
        """Within what the values are, and it travels."""
        values = self._values()
        options = {"channels": "as_is", **self.options}
        source = open_source(self.write(tmp_path, values, False), **options)
        black, white = source.intensity.levels[0]
        assert (black, white) == (values.min(), values.max()) and not source.intensity.stated
        np.testing.assert_allclose(source.intensity.mean[0], _unit_mean(values), atol=0.01)
        assert "intensity" in vars(source) or hasattr(source, "_intensity"), "is kept"

    def test_what_is_not_there_is_one_kind_of_error(self, tmp_path: Path) -> None:
        """Which names the file."""
        (tmp_path / "here").mkdir()
        path = self.write(tmp_path / "here", self._values(), False)
        for opened in (open_source, open_labels):
            with pytest.raises(ImageReadError, match="no_such"):
                opened(path.replace("here", "no_such"))

    def _values(self) -> npt.NDArray[Any]:
        values = np.random.default_rng(0).integers(0, 4000, self.shape).astype(self.dtype)
        return np.asarray(values)

    def _source(self, path: str) -> Source:
        return open_source(path, **{"channels": "as_is", "levels": (0, _WHITE), **self.options})


def _raw(source: Source, region: Region) -> npt.NDArray[Any]:
    return np.asarray(np.rint(source.read(region)[0].astype(np.float64) * _WHITE))


def _unit_mean(values: npt.NDArray[Any]) -> float:
    return float((values.mean() - values.min()) / (values.max() - values.min()))


def _regions(shape: Sequence[int]) -> Iterator[Region]:
    yield tuple(slice(0, 1) for _ in shape)
    yield tuple(slice(s - 1, s) for s in shape)
    yield tuple(slice(s // 3, s - 1) for s in shape)
    yield (slice(0, 2), *(slice(s // 2, s) for s in shape[1:]))
    yield (slice(1, 1), *(slice(0, s) for s in shape[1:]))


@cache
def _worker(start: str) -> ProcessPoolExecutor:
    """One process for all stores: starting it takes longer than all its work."""
    return ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(start))


def _read(sent: bytes, region: Region) -> npt.NDArray[Any]:
    source: Source | LabelSource = pickle.loads(sent)  # noqa: S301  made by this test
    return source.read(region)


def _forked_now(source: Source | LabelSource, region: Region) -> npt.NDArray[Any]:
    """What a process reads that was forked after its parent had read."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=lambda: there.send(source.read(region)))
    process.start()
    assert here.poll(60), "a forked process does not answer"
    found: npt.NDArray[Any] = here.recv()
    process.join()
    return found
