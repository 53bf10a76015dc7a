"""A run that breaks off for memory says what takes less."""

import pytest
import torch
import yaml
from lightning.pytorch import Callback

from microtome.cli import main
from microtome.models import Segmenter
from microtome.training.advice import RunError
from microtome.training.run import run
from small_runs import tiny_config


class Breaks(Callback):
    def __init__(self, hook, error):
        def fail(*_, **__):
            raise error

        setattr(self, hook, fail)


CUDA = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB\nmore")
CPU = RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 9 bytes")
KILLED = RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. ")


@pytest.mark.parametrize("error", [CUDA, CPU, KILLED, MemoryError("no")], ids=type)
def test_training_without_memory_ends_with_advice(tissue, tmp_path, error):
    config = tiny_config(tissue, tmp_path)
    with pytest.raises(RunError) as told:
        run("fit", config, callbacks=[Breaks("on_train_batch_start", error)])
    said = str(told.value).splitlines()
    assert said[0] == f"out of memory: {str(error).splitlines()[0]}"
    assert [line.split()[0] for line in said[2:]] == [
        "trainer=amp:",
        "model.checkpointing=true:",
        "data.init_args.batch_size=1",
        "data.init_args.crop",
    ]


def test_what_is_done_already_is_not_advised(tissue, tmp_path):
    config = tiny_config(tissue, tmp_path, precision="bf16-mixed", accumulate_grad_batches=3)
    config["data"]["init_args"]["batch_size"] = 1
    with pytest.raises(RunError) as told:
        run("fit", config, callbacks=[Breaks("on_train_batch_start", CUDA)])
    assert "amp" not in str(told.value) and "batch_size" not in str(told.value)


@pytest.mark.parametrize("verb", ["fit", "validate"])
def test_validation_without_memory_is_about_tiles(finished, tissue, tmp_path, verb):
    config = tiny_config(tissue, tmp_path)
    if verb == "validate":
        config["ckpt_path"] = str(finished.folder / "checkpoints" / "last.ckpt")
    with pytest.raises(RunError, match=r"model\.tile_batch=1 \(now 4\)"):
        run(verb, config, callbacks=[Breaks("on_validation_batch_start", CUDA)])


def test_the_command_line_prints_no_trace(tissue, tmp_path, monkeypatch, capsys):
    def forward(*_):
        raise CUDA

    monkeypatch.setattr(Segmenter, "forward", forward)
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(tiny_config(tissue, tmp_path / "runs")))
    assert main(["fit", "--config", str(path)]) == 1
    told = capsys.readouterr().err
    assert told.startswith("microtome: out of memory: CUDA") and "Traceback" not in told


def test_other_errors_keep_their_trace(tissue, tmp_path):
    with pytest.raises(RuntimeError, match="shapes differ"):
        wrong = Breaks("on_train_batch_start", RuntimeError("shapes differ"))
        run("fit", tiny_config(tissue, tmp_path), callbacks=[wrong])
