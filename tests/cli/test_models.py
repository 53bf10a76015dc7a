"""`microtome models`: a list, an explanation, JSON; none of them needs torch."""

import json
import subprocess
import sys

from microtome.cli import main


def test_the_list_names_every_model(capsys):
    assert main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len([line for line in lines if " M " in line]) == 31
    (uni,) = (line for line in lines if line.startswith("uni_v2"))
    assert uni.split()[1:5] == ["1536", "14", "681", "M"]
    assert "on request" in uni and uni.endswith("CC-BY-NC-ND-4.0")


def test_one_model_is_explained_step_by_step(capsys):
    assert main(["models", "UNI2-h"]) == 0
    told = capsys.readouterr().out
    assert (
        told.startswith("uni_v2\n") and "1. Log in at https://huggingface.co/MahmoodLab/U" in told
    )
    assert "3. `hf download MahmoodLab/UNI2-h pytorch_model.bin --revision d517a8" in told
    assert "may not be passed on" in told and "padded to a multiple of 14" in told
    assert main(["models", "keep"]) == 0
    told = capsys.readouterr().out
    assert "any use" in told and "Log in" not in told


def test_json_holds_all_facts(capsys):
    assert main(["models", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert main(["models", "genbio_pathfm", "--json"]) == 0
    one = json.loads(capsys.readouterr().out)
    assert one in listed and one["out_channels"] == 4608 and one["planes"] is True


def test_an_unknown_name_is_refused_with_the_nearest(capsys):
    assert main(["models", "hoptimus"]) == 2
    assert "did you mean hoptimus_1, hoptimus_0?" in capsys.readouterr().err


def test_the_list_needs_no_torch():
    script = (
        "import sys; from microtome.cli import main; main(['models', 'uni']); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True).returncode == 0
