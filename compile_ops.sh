#!/usr/bin/env bash
# Compiles the C++ operators against the installed PyTorch, a matter of seconds, and, where there is
# a GPU, lets Triton compile its kernels. PYTHON chooses the interpreter; CXX the C++ compiler.
set -euo pipefail
cd "$(dirname "$0")"
if [ -z "${PYTHON:-}" ]; then
  PYTHON=python
  [ -x .venv/bin/python ] && PYTHON=.venv/bin/python
fi
"$PYTHON" -m microtome.ops.build
"$PYTHON" -m microtome.ops.warming
