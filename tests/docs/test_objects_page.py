"""The page on objects runs as written, and says what comes out."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs/how-to/objects.md"


def test_the_page_runs():
    names: dict = {}
    for code in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
        exec(compile(code, PAGE.name, "exec"), names)
    assert names["large"].masks.ids.tolist() == [20_000_001]
    assert names["both"].labels.tolist() == [2, 1]
