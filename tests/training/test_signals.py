"""SIGTERM and SIGUSR1 save a checkpoint from which a run goes on as if nothing had happened."""

import csv
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
import yaml
from lightning.pytorch import Callback

from microtome.training.run import run
from microtome.training.signals import EXIT_CODE, StoppedError
from small_runs import tiny_config


class SignalAt(Callback):
    """Sends a signal to this process at the nth call of a hook."""

    def __init__(self, hook, count, number):
        self.left, self.number = count, number
        setattr(self, hook, self.tell)

    def tell(self, *_, **__):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), self.number)


def figures(folder):
    """The table without what depends on the clock."""
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


def assert_twins(ours, theirs):
    state = theirs.module.model.state_dict()
    assert all(torch.equal(v, state[k]) for k, v in ours.module.model.state_dict().items())
    assert figures(ours.folder) == figures(theirs.folder)


@pytest.mark.parametrize(
    ("hook", "count"),
    [
        ("on_train_batch_end", 2),  # within an epoch
        ("on_train_batch_end", 3),  # before a validation, which then begins again
        ("on_validation_batch_end", 1),
        ("on_validation_batch_end", 4),  # at the end of the last validation
        ("on_train_epoch_end", 1),
    ],
)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_stopped_run_goes_on_as_if_nothing_had_happened(
    finished, tissue, tmp_path, hook, count, number
):
    if number == signal.SIGUSR1 and hook != "on_train_batch_end":
        pytest.skip("like SIGTERM")
    config, before = tiny_config(tissue, tmp_path), signal.getsignal(number)
    with pytest.raises(StoppedError, match="go on with --resume"):
        run("fit", config, callbacks=[SignalAt(hook, count, number)])
    assert signal.getsignal(number) == before
    resumed = run("fit", {**config, "ckpt_path": "last"})
    assert resumed.folder == tmp_path / "tiny"
    assert_twins(resumed, finished)


def test_gradients_that_still_gather_are_waited_for(tissue, tmp_path):
    gathering = {"accumulate_grad_batches": 2}
    whole = run("fit", tiny_config(tissue, tmp_path / "whole", **gathering))
    config = tiny_config(tissue, tmp_path, **gathering)
    with pytest.raises(StoppedError):
        run("fit", config, callbacks=[SignalAt("on_train_batch_end", 1, signal.SIGTERM)])
    assert_twins(run("fit", {**config, "ckpt_path": "last"}), whole)


def test_a_signal_at_the_very_end_changes_nothing(finished, tissue, tmp_path):
    late = SignalAt("on_train_epoch_end", 2, signal.SIGTERM)
    assert_twins(run("fit", tiny_config(tissue, tmp_path), callbacks=[late]), finished)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1"])
def test_a_signal_to_the_whole_job_ends_it_with_its_exit_code(tissue, tmp_path, name):
    """As a scheduler sends it: to the run and to the processes that load its samples."""
    config = tiny_config(tissue, tmp_path / "runs", max_epochs=500)
    config["data"]["init_args"]["workers"] = 2
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    words = ["fit", "--config", str(tmp_path / "config.yaml"), "--resume"]
    command = [sys.executable, "-m", "microtome", *words]
    steps = []
    for _ in range(2):
        job = subprocess.Popen(
            command, start_new_session=True, text=True, stdout=-1, stderr=subprocess.PIPE
        )
        for line in job.stdout:
            if line.startswith("epoch"):
                break
        time.sleep(0.3)
        os.killpg(job.pid, getattr(signal, name))
        told = job.communicate(timeout=60)[1]
        assert job.returncode == EXIT_CODE, told
        assert f"stopped by {name}" in told and "Traceback" not in told
        last = torch.load(tmp_path / "runs" / "tiny" / "checkpoints" / "last.ckpt")
        steps.append(last["global_step"])
    assert 0 < steps[0] < steps[1]
    assert [p.name for p in (tmp_path / "runs").iterdir()] == ["tiny"]
