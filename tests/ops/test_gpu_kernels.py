"""GPU kernels where there is no GPU: run by Triton's interpreter, and compiled ahead of time."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

triton = pytest.importorskip("triton")

HERE = Path(__file__).parent
LEVELS, POINTS, HEADS, CHANNELS = 2, 4, 8, 32


def test_the_interpreter_agrees_with_the_reference():
    """tests/ops/interpreted_kernels.py, in a process whose Triton interprets."""
    told = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", HERE / "interpreted_kernels.py"],
        env={**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": _path()},
        cwd=HERE.parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stdout[-4000:] + told.stderr[-2000:]


@pytest.mark.parametrize("architecture", [80, 90])
@pytest.mark.parametrize("dims, dtype, kind", [(2, "bf16", 1), (3, "fp32", 2), (2, "fp16", 0)])
def test_kernels_compile_ahead_of_time(architecture, dims, dtype, kind, tmp_path, monkeypatch):
    """To machine code, for A100 and H100 or H200."""
    from microtome.ops.deform_attn import kernels

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    exact = {"EXACT": kind == 2}
    for kernel, constants in ((kernels.forward, {}), (kernels.backward, exact)):
        compiled = _compile(kernel, architecture, dims, dtype, kind, constants)
        assert f"sm_{architecture}" in compiled.asm["ptx"]
        assert len(compiled.asm["cubin"]) > 1000


def _compile(kernel, architecture, dims, dtype, kind, constants):
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    constants = {
        **constants,
        **{"H": HEADS, "C": CHANNELS, "PAD_C": CHANNELS, "ROWS": 32, "PAD_S": 16, "D": dims},
        **{"L": 1 if kind == 2 else LEVELS, "P": POINTS, "KIND": kind, "SOFTMAX": kind > 0},
    }
    sums = ("*i64", "*fp64") if constants.get("EXACT") else ("*fp32", "*fp32")
    types = dict.fromkeys(("value", "weights", "out", "grad"), f"*{dtype}")
    types |= dict.fromkeys(("places", "around", "by_places", "by_weights"), "*fp32")
    types |= dict.fromkeys(("count", "queries", "positions", "point_step"), "i32")
    types |= {"lattice": ("i32",) * (5 * dims)}
    types |= dict(zip(("by_value", "scale"), sums, strict=True))
    types |= {"shapes": ("i32",) * (constants["L"] * dims)} | dict.fromkeys(constants, "constexpr")
    names = kernel.arg_names
    source = ASTSource(
        fn=kernel,
        signature={name: types[name] for name in names},
        constexprs={(names.index(name),): value for name, value in constants.items()},
    )
    return triton.compile(
        source, target=GPUTarget("cuda", architecture, 32), options={"enable_fp_fusion": True}
    )


def _path():
    return os.pathsep.join([str(HERE), *sys.path])
