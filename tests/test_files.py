"""Files are whole or absent, and damage is noticed."""

import hashlib
import json
import os
import subprocess
import sys

import pytest

from microtome.files import (
    PART,
    CorruptFileError,
    seal,
    sealed,
    sha256,
    sweep,
    verify,
    verify_file,
    whole,
)


def test_a_file_appears_whole_with_its_folder(tmp_path):
    target = tmp_path / "a" / "b.txt"
    with whole(target) as part:
        part.write_text("new")
        assert not target.exists()
        assert part.parent == target.parent and part.suffix == ".txt"
    assert target.read_text() == "new" and list(target.parent.iterdir()) == [target]


class Interrupted(BaseException):
    pass


@pytest.mark.parametrize("error", [ValueError, OSError, KeyboardInterrupt, Interrupted])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, error):
    target = tmp_path / "x.txt"
    target.write_text("old")
    with pytest.raises(error), whole(target) as part:
        part.write_text("half")
        raise error
    assert target.read_text() == "old" and list(tmp_path.iterdir()) == [target]


def test_writing_nothing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), whole(tmp_path / "x.txt"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_killed_writer_leaves_the_old_file_and_is_swept(tmp_path):
    target = tmp_path / "x.txt"
    target.write_text("old")
    code = (
        "import os, signal, sys\n"
        "from microtome.files import whole\n"
        "with whole(sys.argv[1]) as part:\n"
        "    part.write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(target)], check=False)
    assert target.read_text() == "old" and len(list(tmp_path.glob(f"{PART}*"))) == 1
    mine = tmp_path / f"{PART}{os.getpid()}-y.txt"
    mine.write_text("being written")
    sweep(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([mine, target])


def test_the_seal_is_that_of_sha256sum(tmp_path):
    with sealed(tmp_path / "x.bin") as part:
        part.write_bytes(b"abc")
    expected = hashlib.sha256(b"abc").hexdigest()
    assert (tmp_path / "x.bin.sha256").read_text() == f"{expected}  x.bin\n"
    verify_file(tmp_path / "x.bin")


def test_a_changed_file_does_not_verify(tmp_path):
    with sealed(tmp_path / "x.bin") as part:
        part.write_bytes(b"abc")
    (tmp_path / "x.bin").write_bytes(b"abd")
    with pytest.raises(CorruptFileError, match=r"x\.bin: its sha256 is not the one in x\.bin\.sha"):
        verify_file(tmp_path / "x.bin")


def test_a_file_without_a_seal_verifies(tmp_path):
    (tmp_path / "x.bin").write_bytes(b"abc")
    verify_file(tmp_path / "x.bin")


def test_a_failure_while_sealing_leaves_old_file_and_old_seal(tmp_path):
    with sealed(tmp_path / "x.bin") as part:
        part.write_bytes(b"old")
    before = (tmp_path / "x.bin.sha256").read_text()
    with pytest.raises(OSError, match="disk"), sealed(tmp_path / "x.bin") as part:
        part.write_bytes(b"new")
        raise OSError("disk full")
    verify_file(tmp_path / "x.bin")
    assert (tmp_path / "x.bin.sha256").read_text() == before


@pytest.mark.parametrize("moment", ["before the rename", "after the rename"])
def test_a_kill_at_any_moment_leaves_a_file_that_verifies(tmp_path, monkeypatch, moment):
    with sealed(tmp_path / "x.bin") as part:
        part.write_bytes(b"old")
    replace = type(tmp_path).replace

    def killed(self, target):
        if target.name != "x.bin":
            return replace(self, target)
        if moment == "after the rename":
            replace(self, target)
        raise Interrupted

    monkeypatch.setattr(type(tmp_path), "replace", killed)
    with pytest.raises(Interrupted), sealed(tmp_path / "x.bin") as part:
        part.write_bytes(b"new")
    monkeypatch.undo()
    verify_file(tmp_path / "x.bin")
    now = (tmp_path / "x.bin").read_bytes()
    assert now == (b"new" if moment == "after the rename" else b"old")


def folder(path):
    for name in ("a.txt", "b.txt"):
        (path / name).write_text(name)
    seal(path)
    return path


def test_a_sealed_folder_verifies_and_tells_what_is_wrong(tmp_path):
    verify(folder(tmp_path))
    (tmp_path / "a.txt").write_text("other")
    (tmp_path / "b.txt").unlink()
    with pytest.raises(CorruptFileError, match=r"a\.txt, b\.txt"):
        verify(tmp_path)


def test_a_manifest_may_name_some_files_only(tmp_path):
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "card.md").write_text("b")
    seal(tmp_path, ["a.txt"])
    (tmp_path / "card.md").write_text("completed by hand")
    verify(tmp_path)
    assert json.loads((tmp_path / "MANIFEST.json").read_text()) == {
        "a.txt": sha256(tmp_path / "a.txt")
    }


def test_a_manifest_cannot_point_outside_its_folder(tmp_path):
    (tmp_path / "secret").write_text("x")
    inner = tmp_path / "model"
    inner.mkdir()
    (inner / "MANIFEST.json").write_text(json.dumps({"../secret": sha256(tmp_path / "secret")}))
    with pytest.raises(CorruptFileError, match="secret"):
        verify(inner)
