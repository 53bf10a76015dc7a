"""The compiled library: what is said without it, with an old one, and how it is built."""

import json
import re
import sys

import pytest

from microtome.cli import main
from microtome.ops import build, library, warming


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """No library yet, in a folder of its own."""
    for module in (library, build):
        monkeypatch.setattr(module, "LIBRARY", tmp_path / "microtome_ops.so")
        monkeypatch.setattr(module, "STAMP", tmp_path / "microtome_ops.json")
    library.lacking.cache_clear()
    yield tmp_path
    library.lacking.cache_clear()


def test_without_it_the_reason_says_what_to_type(elsewhere):
    assert library.lacking() == "not built; type: python -m microtome.ops.build"


def test_one_of_other_sources_is_not_loaded(elsewhere):
    (elsewhere / "microtome_ops.so").touch()
    (elsewhere / "microtome_ops.json").write_text(json.dumps({"sources": "older"}))
    assert library.lacking().startswith("built from other sources")


@pytest.mark.parametrize("stamp", ["", '{"sources": "4f', "[]"])
def test_without_a_whole_stamp_it_is_not_built(elsewhere, stamp):
    (elsewhere / "microtome_ops.so").touch()
    (elsewhere / "microtome_ops.json").write_text(stamp)
    assert library.lacking() == "not built; type: python -m microtome.ops.build"


def test_a_broken_one_is_a_reason_not_a_crash(elsewhere):
    (elsewhere / "microtome_ops.so").write_bytes(b"no library")
    stamp = {"sources": library.digest(library.sources())}
    (elsewhere / "microtome_ops.json").write_text(json.dumps(stamp))
    assert library.lacking().startswith("does not load (")


def test_every_source_counts():
    names = {file.name for file in library.sources()}
    assert {"native.h", "lanes.h", "each_isa.h", "kernel.h", "cpu.cpp"} <= names


def test_doctor_says_what_is_missing_without_it(elsewhere, monkeypatch, capsys):
    monkeypatch.setattr(build, "find_compiler", lambda: None)
    main(["doctor"])
    said = capsys.readouterr().out
    assert "not built; type: python -m microtome.ops.build; needs a C++ compiler first" in said
    assert re.search(r"Triton +(\d|missing)", said)


def test_building_without_a_compiler_says_so(monkeypatch, capsys):
    monkeypatch.setattr(build, "find_compiler", lambda: None)
    assert build.main() == 1
    assert "no C++ compiler found" in capsys.readouterr().out


def test_the_compiler_may_be_several_words(monkeypatch):
    monkeypatch.setenv("CXX", f"{sys.executable} -m wrapped")
    assert build.find_compiler() == [sys.executable, "-m", "wrapped"]


def test_an_old_compiler_is_told_in_a_line(tmp_path, monkeypatch, capsys):
    old = tmp_path / "g++-11"
    old.write_text("#!/bin/sh\n[ $1 = --version ] && echo 'g++ 11.4.0' || cat > /dev/null\n")
    old.chmod(0o755)
    monkeypatch.setenv("CXX", str(old))
    assert build.main() == 1
    expected = f"the C++ operators need GCC 12 or newer, or clang; {old} is g++ 11.4.0\n"
    assert capsys.readouterr().out == expected


@pytest.mark.parametrize("dims", [2, 3])
def test_what_warms_the_cache_runs(dims):
    """Here on the processor; without a GPU there is nothing to warm."""
    for dtype in warming.DTYPES:
        warming.attend(dims, dtype, "cpu")
        warming.convolve(dims, dtype, "cpu")
    assert warming.main() == 0


@pytest.mark.slow
def test_it_builds_and_loads_and_only_what_changed_is_compiled_again(elsewhere):
    compiler = build.find_compiler()
    assert compiler is not None and not build.unfit(compiler)
    assert build.build(compiler) == len(list(library.ROOM.glob("*/cpu.cpp")))
    assert library.lacking() == ""
    assert library.built_with()["sources"] == library.digest(library.sources())
    assert build.build(compiler) == 0
    assert str(library.ROOM).encode() not in library.LIBRARY.read_bytes()
