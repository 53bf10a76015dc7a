"""The page about own parts: its code, its tests and its config, as they stand there."""

import re
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from small_runs import tiny_config

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "your_own.md"


@cache
def modules():
    """`my_parts` and `test_my_parts`, made of the page's two blocks."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    for name, code in zip(("my_parts", "test_my_parts"), blocks, strict=True):
        sys.modules[name] = module = ModuleType(name)
        exec(compile(code, f"{PAGE.name}: {name}", "exec"), vars(module))
    return sys.modules["my_parts"], sys.modules["test_my_parts"]


def promises():
    for name, suite in vars(modules()[1]).items():
        if name.startswith("Test"):
            for test in dir(suite):
                if test.startswith("test_"):
                    yield pytest.param(suite, test, id=f"{name}-{test}")


@pytest.mark.parametrize("suite, test", list(promises()))
def test_the_parts_pass_the_contract(suite, test):
    getattr(suite(), test)()


def test_both_parts_are_as_short_as_the_page_says():
    code = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[0]
    bodies = code[code.index("class TwoScales") :].splitlines()
    assert sum(bool(line.strip()) for line in bodies) <= 36
    assert len(list(promises())) > 15


def test_the_config_trains_and_the_checkpoint_is_read(tissue, tmp_path):
    from microtome import load_segmenter
    from microtome.training.run import run

    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    config = tiny_config(tissue, tmp_path, max_epochs=1)
    config["model"] |= yaml.safe_load(text)["model"]
    modules()
    folder = run("fit", config).folder
    checkpoint = folder / "checkpoints" / "best.ckpt"
    with pytest.raises(PermissionError, match="my_parts"):
        load_segmenter(checkpoint)
    model = load_segmenter(checkpoint, trusted=("microtome.", "my_parts."))
    assert type(model.head).__name__ == "Vote"
