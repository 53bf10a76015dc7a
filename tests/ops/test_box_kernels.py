"""GPU kernels of boxes where there is no GPU: interpreted, and compiled ahead of time."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

triton = pytest.importorskip("triton")

HERE = Path(__file__).parent


def test_the_interpreter_agrees_with_the_reference():
    """tests/ops/interpreted_box_kernels.py, in a process whose Triton interprets."""
    path = os.pathsep.join([str(HERE), *sys.path])
    file = HERE / "interpreted_box_kernels.py"
    told = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", file],
        env={**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": path},
        cwd=HERE.parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stdout[-4000:] + told.stderr[-2000:]


def compiled(kernel, architecture, types, constants, num_warps=4, enable_fp_fusion=False):
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    names = kernel.arg_names
    types = types | dict.fromkeys(constants, "constexpr")
    source = ASTSource(
        fn=kernel,
        signature={name: types[name] for name in names},
        constexprs={(names.index(name),): value for name, value in constants.items()},
    )
    options = {"num_warps": num_warps, "enable_fp_fusion": enable_fp_fusion}
    return triton.compile(source, target=GPUTarget("cuda", architecture, 32), options=options)


def to_machine_code(result, architecture):
    return f"sm_{architecture}" in result.asm["ptx"] and len(result.asm["cubin"]) > 1000


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))


@pytest.mark.parametrize("architecture", [80, 90])
@pytest.mark.parametrize("dims", [2, 3])
def test_nms_compiles_ahead_of_time(architecture, dims):
    from microtome.ops.nms import kernels

    types = {"boxes": "*fp32", "groups": "*i64", "bits": "*i64", "stay": "*i1"}
    types |= {"count": "i32", "words": "i32", "threshold": "fp32"}
    pairs = compiled(kernels.overlaps, architecture, types, {"D": dims})
    assert to_machine_code(pairs, architecture)
    assert "fma.rn.f32" not in pairs.asm["ptx"]  # rounded as torchvision's, division included
    assert "div.rn.f32" in pairs.asm["ptx"]
    walk = compiled(kernels.resolve, architecture, types, {"PAD": 512, "ROWS": 16}, num_warps=16)
    assert to_machine_code(walk, architecture)


@pytest.mark.parametrize("architecture", [80, 90])
@pytest.mark.parametrize("dtype, exact", [("fp32", False), ("bf16", True), ("fp16", False)])
def test_roi_align_compiles_ahead_of_time(architecture, dtype, exact):
    from microtome.ops.roi_align import kernels

    types = dict.fromkeys(("maps", "grad", "out"), f"*{dtype}")
    types |= {"boxes": "*fp32", "index": "*i64", "scale": "*fp64", "channels": "i32"}
    types |= dict.fromkeys(("shape", "cells", "samples", "taps"), ("i32",) * 3)
    types |= {"stride": ("fp32",) * 3, "by_maps": "*i64" if exact else "*fp32"}
    for kernel, constants in ((kernels.forward, {}), (kernels.backward, {"EXACT": exact})):
        result = compiled(
            kernel, architecture, types, {"BLOCK": 256, **constants}, enable_fp_fusion=True
        )
        assert to_machine_code(result, architecture)
