"""`python -m microtome.ops.build`: compile the C++ operators against the installed PyTorch.

Every `*/cpu.cpp` becomes an object, in parallel and only where something changed, and all of them
one shared library beside this file. The library speaks PyTorch's stable ABI: it keeps working when
PyTorch is updated (2.10 or newer), and holds code for several generations of processors.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

from ..files import whole
from .library import LIBRARY, ROOM, STAMP, digest, sources

FLAGS = (
    "-std=c++17",
    "-O3",
    "-fPIC",
    "-fvisibility=hidden",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-Wall",
    "-Wno-psabi",  # vectors never cross a function that is not inlined
    "-Wno-unknown-pragmas",
    "-DTORCH_TARGET_VERSION=0x020a000000000000",  # PyTorch 2.10
    f"-ffile-prefix-map={ROOM}=microtome/ops",  # errors name no folder of this machine
)


def main() -> int:
    """Build, and say what was done or what is missing; exit code 1 without a library."""
    began = time.perf_counter()
    compiler = find_compiler()
    if compiler is None:
        _say(
            "no C++ compiler found (looked for $CXX, c++, g++, clang++); install one, for example "
            "with: apt install g++. Without it all operators run as plain PyTorch, more slowly."
        )
        return 1
    try:
        wrong = unfit(compiler)
        if wrong:
            _say(wrong)
            return 1
        compiled = build(compiler)
    except subprocess.CalledProcessError as error:
        _say(f"{shlex.join(map(str, error.cmd))}\n{error.stderr}")
        return 1
    seconds = time.perf_counter() - began
    _say(f"{LIBRARY}: {compiled} of {len(_units())} objects compiled, {seconds:.0f} s")
    return 0


def find_compiler() -> list[str] | None:
    """Words of the command that compiles C++: `$CXX` first, which may be several (`ccache g++`)."""
    commands = [shlex.split(os.environ.get("CXX", "")), ["c++"], ["g++"], ["clang++"]]
    return next(
        ([found, *words[1:]] for words in commands if words and (found := shutil.which(words[0]))),
        None,
    )


def unfit(compiler: Sequence[str]) -> str:
    """Why the compiler will not do, "" when it will: the kernels permute vectors by a builtin."""
    probe = "__has_builtin(__builtin_shufflevector)"  # itself unknown before GCC 10
    told = subprocess.run(
        [*compiler, "-E", "-P", "-x", "c++", "-"],
        input=f"#ifdef __has_builtin\n#if {probe}\nfit\n#endif\n#endif\n",
        capture_output=True,
        text=True,
        check=True,
    )
    if "fit" in told.stdout.split():
        return ""
    version = _run([*compiler, "--version"]).splitlines()[0]
    return f"the C++ operators need GCC 12 or newer, or clang; {shlex.join(compiler)} is {version}"


def build(compiler: Sequence[str]) -> int:
    """Bring the library up to date; return how many objects had to be compiled.

    Raises subprocess.CalledProcessError when the compiler fails.
    """
    LIBRARY.parent.mkdir(exist_ok=True)
    objects = {unit: LIBRARY.parent / f"{unit.parent.name}-{_key(unit)}.o" for unit in _units()}
    changed = {unit: at for unit, at in objects.items() if not at.exists()}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda unit: _compile(compiler, unit, changed[unit]), changed))
    torch_libs = Path(torch.__file__).parent / "lib"
    with whole(LIBRARY) as part:  # a process that has the old one open keeps it
        link: list[str | Path] = [
            *compiler,
            "-shared",
            *objects.values(),
            f"-L{torch_libs}",
            "-ltorch_cpu",
            "-lc10",
        ]
        _run([*link, "-o", part])
    for old in set(LIBRARY.parent.glob("*.o")) - set(objects.values()):
        old.unlink()
    told = {
        "sources": digest(sources()),
        "torch": torch.__version__,
        "compiler": _run([*compiler, "--version"]).splitlines()[0],
    }
    with whole(STAMP) as path:
        path.write_text(json.dumps(told))
    return len(changed)


def _units() -> list[Path]:
    return sorted(ROOM.glob("*/cpu.cpp"))


def _compile(compiler: Sequence[str], unit: Path, to: Path) -> None:
    include = Path(torch.__file__).parent / "include"
    with whole(to) as part:
        _run([*compiler, *FLAGS, f"-I{ROOM}", "-isystem", include, "-c", unit, "-o", part])


def _key(unit: Path) -> str:
    """Changes when a new object is needed."""
    files = [*ROOM.glob("*.h"), *unit.parent.glob("*.h"), unit]
    about = digest(sorted(files)) + torch.__version__ + " ".join(FLAGS)
    return hashlib.sha256(about.encode()).hexdigest()[:12]


def _run(command: list[str | Path]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main())
