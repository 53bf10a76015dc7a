"""The batch that fits is found by measuring, and written down."""

import pytest
import torch
import yaml

from microtome.cli import main
from microtome.data import mixing
from microtome.training import batch_size
from microtome.training.batch_size import GIB, _peak, _search
from microtome.training.parser import ConfigError
from microtome.training.run import run
from small_runs import tiny_config

MIB = 2**20


def auto(tissue, runs, **trainer):
    config = tiny_config(tissue, runs, max_epochs=1, **trainer)
    config["data"]["init_args"] |= {"batch_size": "auto", "crops_per_image": 4}
    return config


@pytest.mark.parametrize(
    ("free", "most", "expected"),
    [(1000, 64, 64), (1000, 5, 4), (650, 64, 32), (139, 64, 2), (119, 64, 1), (109, 64, 0)],
)
def test_the_largest_that_fits_is_found(free, most, expected):
    """A model of 100 and crops of 10 each."""
    asked = []

    def peak(size):
        asked.append(size)
        return 100 + 10 * size

    assert _search(peak, free, 100, (1, most))[0] == expected
    assert max(asked) <= max(expected, 1)  # nothing larger was tried


def test_running_out_of_memory_ends_the_search():
    def peak(size):
        if size > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return size

    assert _search(peak, 1e9, 0, (1, 64)) == (4, 4)


def test_the_peak_of_the_cpu_is_what_was_taken():
    def work():
        x = torch.ones(64 * MIB // 4)
        del x
        torch.ones(16 * MIB // 4)

    used = [torch.ones(MIB // 4) for _ in range(200)]
    last = used.pop()  # above what is freed, so that the heap keeps it
    del used
    for _ in range(2):
        assert 60 * MIB < _peak(torch.device("cpu"), work) < 90 * MIB
    assert last.sum() > 0


def test_the_number_is_written_into_the_config(tissue, tmp_path):
    done = run("fit", auto(tissue, tmp_path / "a"))
    resolved = yaml.safe_load((done.folder / "config.yaml").read_text())
    size = resolved["data"]["init_args"]["batch_size"]
    assert size == 16  # the largest power of two in an epoch of 24 crops
    assert done.module.trainer.global_step == 1
    twin = run("fit", {**resolved, "runs": str(tmp_path / "b")})
    state = twin.module.state_dict()
    assert all(torch.equal(v, state[k]) for k, v in done.module.state_dict().items())


def test_a_small_memory_gives_a_small_batch(tissue, tmp_path, monkeypatch):
    taken = {1: 0.2, 2: 0.3, 4: 0.45}
    monkeypatch.setattr(batch_size, "_free", lambda device: 1 * GIB)
    monkeypatch.setattr(batch_size, "_peak", lambda device, work: taken.pop(min(taken)) * GIB)
    done = run("fit", auto(tissue, tmp_path / "a"))
    assert done.data.batch_size == 4 and done.module.trainer.global_step == 6


@pytest.mark.parametrize("kind", ["MixUp", "CutMix"])
def test_mixed_batches_are_measured_as_they_are_trained_on(kind, tissue, tmp_path, monkeypatch):
    """All of them mixed, however seldom that is; and of one image there is none."""
    sizes, mixed = [], getattr(mixing, kind).mixed

    def noted(self, images, targets, drawn):
        sizes.append(len(targets))
        return mixed(self, images, targets, drawn)

    monkeypatch.setattr(getattr(mixing, kind), "mixed", noted)
    config = auto(tissue, tmp_path / "a")
    how = {"class_path": f"microtome.data.mixing.{kind}", "init_args": {"prob": 0.0}}
    config["model"] |= {"mix": how}
    done = run("fit", config)
    assert sizes == [2, 4, 8, 16] and done.data.batch_size == 16
    assert done.module.mix.prob == 0
    monkeypatch.setattr(batch_size, "_free", lambda device: 0)
    with pytest.raises(ConfigError, match="two crops, to be mixed, do not fit"):
        run("fit", config)


def test_what_does_not_fit_at_all_is_told(tissue, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(batch_size, "_free", lambda device: 0)
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(auto(tissue, tmp_path / "runs")))
    assert main(["fit", "--config", str(path)]) == 2
    assert "one crop does not fit" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_other_words_are_refused(tissue, tmp_path):
    config = auto(tissue, tmp_path)
    config["data"]["init_args"]["batch_size"] = "large"
    with pytest.raises(ConfigError, match="batch_size"):
        run("fit", config)
