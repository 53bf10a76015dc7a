# Verbs only. Each makes its own environment in .venv on first use (about 2 minutes, 6.6 GB with
# torch's default build). PYTHON chooses the interpreter, 3.11 or newer.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DELETE_ON_ERROR:
.PHONY: help docs setup ops demo test test-slow check bench clean

help:
	@echo "make demo       generate tissue, train, predict and compare (a few minutes after setup)"
	@echo "make test       the test suite"
	@echo "make test-slow  what needs a compiler, a server or minutes"
	@echo "make check      ruff, mypy strict, the import contract"
	@echo "make ops        compile the C++ operators (seconds; they run as plain PyTorch without)"
	@echo "make docs       the generated help page"
	@echo "make bench      speed beside peers, into benchmarks/results"

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "microtome needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV): about 2 minutes and 6.6 GB with torch's default build"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

# where there is no compiler this says so, and the rest goes on without
ops: setup
	PYTHON=$(BIN)/python ./compile_ops.sh

demo: setup
	$(BIN)/microtome demo

# a file's tests stay in one process: they share what they made
test: setup
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist loadfile

test-slow: setup
	-$(MAKE) --no-print-directory ops
	$(BIN)/python -m pytest -m slow --numprocesses auto --maxprocesses 4
	$(BIN)/python -m pytest -rs --numprocesses auto --maxprocesses 4 --dist loadfile tests/ops tests/layers

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: setup
	$(BIN)/python -m microtome.cli.help_page

bench: setup
	-$(MAKE) --no-print-directory ops
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) demo .mypy_cache .pytest_cache .ruff_cache
