"""What README and docs tell a user to type runs as written."""

import re
import shlex
import shutil
from pathlib import Path

import pytest

from microtome.cli import main
from small_runs import tiny_config

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page, language):
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)


def commands():
    for page in PAGES:
        for block in blocks(page, "bash"):
            for line in block.splitlines():
                words = shlex.split(line, comments=True)
                if words and words[0] == "microtome":
                    yield pytest.param(words[1:], id=f"{page.stem}: {' '.join(words)[:60]}")


@pytest.fixture(scope="module")
def place(tissue, tmp_path_factory):
    """A folder as `make demo` leaves it, but small."""
    from microtome.data.synthetic import write_nuclei
    from microtome.training.run import run

    folder = tmp_path_factory.mktemp("place")
    shutil.copytree(tissue.parent, folder / "demo" / "data")
    shutil.copy(
        next((folder / "demo" / "data" / "images").iterdir()),
        folder / "demo" / "data" / "images" / "tissue_0060.png",
    )
    write_nuclei(
        folder / "demo" / "nuclei3d" / "data", {"train": 3, "val": 1, "test": 1}, (16, 64, 64)
    )
    config = tiny_config(folder / "demo" / "data" / "manifest.json", folder / "demo" / "runs")
    run("fit", {**config, "name": "demo"})
    return folder


def test_the_python_of_the_readme_runs(place, monkeypatch):
    monkeypatch.chdir(place)
    (code,) = blocks(ROOT / "README.md", "python")
    names: dict = {}
    exec(compile(code, "README.md", "exec"), names)
    assert names["result"].classes.shape == (64, 64)
    assert names["model"].classes.names[2] == "gland"


def test_the_colours_of_another_laboratory_are_measured(place, monkeypatch):
    monkeypatch.chdir(place)
    (code,) = blocks(ROOT / "docs/how-to/augment.md", "python")
    names: dict = {}
    exec(compile(code, "augment.md", "exec"), names)
    assert 20 < names["mean"][0] < 95 and len(names["std"]) == 3


@pytest.mark.slow
@pytest.mark.parametrize("words", list(commands()))
def test_commands_run_as_written(words, place, monkeypatch):
    monkeypatch.chdir(place)
    if words[0] in ("fit", "demo") and "--help" not in words:
        words = [*words, "trainer.max_epochs=1", "data.init_args.workers=0"]
    assert main(words) == 0


@pytest.mark.slow
def test_the_experiment_file_of_the_how_to_runs(place, monkeypatch):
    monkeypatch.chdir(place)
    (text,) = [b for b in blocks(ROOT / "docs/how-to/train.md", "yaml") if "defaults:" in b]
    Path("mine.yaml").write_text(text)
    words = ["fit", "--config", "mine.yaml", "trainer.max_epochs=1", "data.init_args.workers=0"]
    assert main(words) == 0


def test_links_between_pages_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page}: {target}"
