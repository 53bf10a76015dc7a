"""The benchmarks: what they measure, and that what they measured is never lost."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
MIB = 2**20


@pytest.fixture
def command(monkeypatch):
    """`benchmarks.__main__`, which is no part of the package, with limits that take no time."""
    monkeypatch.syspath_prepend(ROOT)
    from benchmarks import __main__

    monkeypatch.setattr(__main__, "limits", lambda: {"copy": 1e9})
    return __main__


@pytest.fixture
def made_up(command, monkeypatch):
    """A benchmark with one case and one size, that breaks off when memory is measured."""
    from benchmarks.harness import Case

    def cases():
        yield Case("sums", lambda: sum(range(9)), "peer", lambda: sum(range(9)), lambda a, b: None)

    def growth():
        yield {"case": "sums", "9": 1.5, "slope": 1.0}

    def memory():
        yield {"case": "sums", "ours": 3_000_000, "peer_name": "peer"}
        raise RuntimeError("no more memory")

    module = ModuleType("benchmarks.made_up")
    module.__dict__.update(cases=cases, growth=growth, memory=memory)
    monkeypatch.setitem(sys.modules, "benchmarks.made_up", module)


def test_a_run_that_breaks_off_leaves_what_it_had(command, made_up, tmp_path):
    with pytest.raises(RuntimeError, match="no more memory"):
        command.run("made_up", tmp_path)
    report = json.loads((tmp_path / "made_up.json").read_text())
    (case,), (size,) = report["cases"], report["growth"]
    assert case["case"] == "sums" and case["ratio"] > 0 and size["slope"] == 1.0
    text = (tmp_path / "made_up.md").read_text()
    assert "| sums | 1.50 | 1.00 |" in text
    assert "| sums | 3.00 | peer |" in text


@pytest.mark.parametrize("before", ["", "held = np.ones(2**23)\n", "np.ones(2**24)\n"])
def test_memory_is_the_peak_above_what_was_held(command, before):
    """Neither what is kept nor what was freed before hides 64 MiB."""
    from benchmarks.harness import peak_memory

    taken = peak_memory(f"import numpy as np\n{before}work = lambda: np.ones(2**23)\n")
    assert 63 * MIB < taken < 68 * MIB


@pytest.mark.slow
def test_backbones_run_to_the_end(tmp_path):
    """Equal weights give equal maps, and every line is there."""
    command = [sys.executable, "-m", "benchmarks", "backbones", "--results", tmp_path]
    subprocess.run(command, check=True, cwd=ROOT, env={**os.environ, "BENCHMARKS": "tiny"})
    report = json.loads((tmp_path / "backbones.json").read_text())
    assert len(report["cases"]) == 16 and len(report["growth"]) == 6 and report["memory"]


@pytest.mark.slow
def test_metrics_of_objects_are_those_of_their_peers(tmp_path):
    """Each case checks that before it is timed."""
    command = [sys.executable, "-m", "benchmarks", "instance_metrics", "--results", tmp_path]
    subprocess.run(command, check=True, cwd=ROOT, env={**os.environ, "BENCHMARKS": "tiny"})
    assert len(json.loads((tmp_path / "instance_metrics.json").read_text())["cases"]) == 3


@pytest.mark.slow
def test_mask_rcnn_answers_as_torchvision_does(tmp_path):
    """Each case checks that before it is timed."""
    command = [sys.executable, "-m", "benchmarks", "instances", "--results", tmp_path]
    subprocess.run(command, check=True, cwd=ROOT, env={**os.environ, "BENCHMARKS": "tiny"})
    report = json.loads((tmp_path / "instances.json").read_text())
    assert len(report["cases"]) == 8 and len(report["memory"]) == 3


@pytest.mark.slow
def test_every_way_to_fine_tune_runs_to_the_end(tmp_path):
    """With what is trained told of each: of frozen models only the head."""
    command = [sys.executable, "-m", "benchmarks", "finetuning", "--results", tmp_path]
    subprocess.run(command, check=True, cwd=ROOT, env={**os.environ, "BENCHMARKS": "tiny"})
    report = json.loads((tmp_path / "finetuning.json").read_text())
    assert len(report["cases"]) == 7
    trained = {row["case"]: row["trained"] for row in report["memory"]}
    head = 2 * 384 + 2  # a linear one, of two classes
    assert trained["kaiko_vits16: frozen"] == trained["kaiko_vits16: frozen, remembered"] == head
    assert trained["kaiko_vits16: lora"] < trained["kaiko_vits16: dora"]
