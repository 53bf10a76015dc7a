"""`python tests/foundation_table.py`: every foundation model built, run and read, as a table.

Writes `docs/methods/foundation_models_table.md`. Weights are random: what is shown is that the
architecture is the published one and that a file in its layout is read completely.
"""

import tempfile
from pathlib import Path

import torch

from microtome.backbones.foundation import FoundationViT
from microtome.catalogue import entries
from published_layouts import PUBLISHED

PAGE = Path(__file__).parents[1] / "docs" / "methods" / "foundation_models_table.md"
SMALL = {"depth": 2, "embed_dim": 48, "num_heads": 4}
HEAD = """# Foundation models, checked

Written by `python tests/foundation_table.py`, with random weights. Parameters are counted in the
complete architecture; "map" is what one block of it gives for an image of 2 x 3 patches; "layout"
says that a file in the published layout, at a small width, is read completely and unchanged.

| model | timm architecture | parameters | published | patch | in front | map | layout |
|---|---|---|---|---|---|---|---|
"""


def row(entry):
    with torch.device("meta"):
        count = sum(p.numel() for p in FoundationViT(entry.name).parameters())
    one = FoundationViT(entry.name, options={"depth": 1}).eval()
    with torch.no_grad():
        (x,) = one(torch.zeros(1, 3, 2 * entry.patch, 3 * entry.patch))
    cells = [
        f"`{entry.name}`",
        entry.architecture,
        f"{count:,}",
        "equal" if count == entry.parameters else f"{entry.parameters:,}",
        f"{one.mask_unit[0]}",
        f"{one.vit.num_prefix_tokens}",
        "x".join(map(str, x.shape[1:])),
        f"{entry.converter}, {'read' if is_read(entry) else 'NOT read'}",
    ]
    return f"| {' | '.join(cells)} |"


def is_read(entry):
    state = FoundationViT(entry.name, options=SMALL).vit.state_dict()
    state = {k: torch.randn_like(v) for k, v in state.items()}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.pth"
        torch.save(PUBLISHED[entry.converter](dict(state)), path)
        ours = FoundationViT(entry.name, str(path), options=SMALL).vit.state_dict()
    return all(torch.allclose(v, state[k], atol=1e-6) for k, v in ours.items())


if __name__ == "__main__":
    PAGE.write_text(HEAD + "\n".join(row(entry) for entry in entries().values()) + "\n")
    print(PAGE)
