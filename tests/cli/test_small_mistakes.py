"""What is wrong with a whole data set is told once; too little memory ends with advice."""

import json

import pytest
import torch

from microtome.cli import main
from microtome.models import Segmenter


@pytest.fixture
def manifest(tissue, tmp_path):
    """A manifest for testing only, changed as asked."""

    def write(**changed):
        content = json.loads(tissue.read_text())
        for entry in content["data"]["test"]:
            for key in ("image_path", "mask_path", "labels_path"):
                entry[key] = str(tissue.parent / entry[key])
        content["data"] = {"test": content["data"]["test"]}
        path = tmp_path / "test_only.json"
        path.write_text(json.dumps({**content, **changed}))
        return str(path)

    return write


def predict(finished, manifest, out):
    checkpoint = str(finished.folder / "checkpoints" / "best.ckpt")
    return main(["predict", "--ckpt_path", checkpoint, "--input", manifest, "--output", str(out)])


def test_channels_that_do_not_fit_are_refused_once(finished, manifest, tmp_path, capsys):
    assert predict(finished, manifest(channels="grey"), tmp_path / "out") == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "takes 3 channels" in told and '"grey"' in told
    assert not (tmp_path / "out").exists()


def test_a_manifest_for_testing_only_is_inspected(manifest, capsys):
    assert main(["inspect", manifest()]) == 0
    assert "no problems" in capsys.readouterr().out
    assert main(["inspect", manifest(num_classes=99)]) == 2


ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 9 bytes"),
    MemoryError("Unable to allocate 9 GiB"),
]


@pytest.mark.parametrize("error", ERRORS, ids=["cuda", "cpu", "python"])
def test_predict_without_memory_ends_with_advice(
    finished, manifest, tmp_path, monkeypatch, capsys, error
):
    def forward(*_):
        raise error

    monkeypatch.setattr(Segmenter, "forward", forward)
    assert predict(finished, manifest(), tmp_path / "out") == 1
    told = capsys.readouterr().err
    assert "out of memory" in told and "--batch_size 1 (now 4)" in told and "--tile" in told


def test_other_errors_are_not_taken_for_it(finished, manifest, tmp_path, monkeypatch):
    def forward(*_):
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(Segmenter, "forward", forward)
    with pytest.raises(RuntimeError, match="shapes differ"):
        predict(finished, manifest(), tmp_path / "out")
