"""Options that may stand alone, and output that nobody reads to its end."""

import subprocess
import sys

from microtome.cli.words import sort_words


def test_resume_alone_means_the_newest():
    assert sort_words(["--config", "demo", "--resume"]).flags == ["--ckpt_path=last"]
    assert sort_words(["--resume", "--config", "demo"]).flags == ["--ckpt_path=last"]
    assert sort_words(["--resume", "a.b=c"]).flags == ["--ckpt_path=last"]
    assert sort_words(["--resume", "x.ckpt"]).flags == ["--ckpt_path=x.ckpt"]


def test_a_reader_that_has_seen_enough_is_no_error():
    command = f"{sys.executable} -m microtome fit --help | head -1"
    for _ in range(3):  # which of the two is faster is chance
        done = subprocess.run(command, shell=True, capture_output=True, text=True)
        assert done.stdout.startswith("usage: microtome fit") and done.stderr == ""
