# Everything a newcomer or CI runs. Each target sets up what it needs: .venv, the package with its compiled parts, the
# test tools. Needs Python 3.11 or newer, a C compiler and make.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
# what the slow tests export models with: one release, so that they export the same graphs
MODELS := $(VENV)/.models
TORCH  := torch==2.13.0
NATIVE := $(shell find neuronsim/_core -name "*.pyx" -o -name "*.pxd" -o -name "*.c" -o -name "*.h")

.DEFAULT_GOAL := help
.PHONY: help demo dev test test-slow lint types bench results results-frameworks docs bless clean

help:  ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-18s %s\n", $$1, $$2}'

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(STAMP): pyproject.toml setup.py $(NATIVE) | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[test,cpu]"
	@touch $@

dev: $(STAMP)  ## create .venv with the package (editable), its compiled parts and the test tools

demo: $(STAMP)  ## compile ResNet-50 for trn1.2xlarge, run it with values and time, compare with ONNX Runtime
	$(BIN)/neuronsim demo

lint: $(STAMP)  ## ruff
	$(BIN)/ruff check .

types: $(STAMP)  ## mypy
	$(BIN)/mypy

test: lint types  ## lint, types and the fast tests
	$(BIN)/python -m pytest -q -n auto -m "not slow"

$(MODELS): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$(TORCH)" -e ".[models]"
	@touch $@

test-slow: $(STAMP) $(MODELS)  ## whole networks, exported transformers, full-size programs (minutes; installs torch)
	$(BIN)/python -m pytest -q -n auto -m slow

bench: $(STAMP)  ## speed against ONNX Runtime on this machine
	$(BIN)/python benchmarks/bench.py

results: $(STAMP) $(if $(FIXTURES),$(MODELS))  ## rewrite docs/results.md (FIXTURES=directory adds models of frameworks)
	$(BIN)/python benchmarks/results.py $(if $(FIXTURES),--fixtures $(FIXTURES))

results-frameworks: $(STAMP) $(MODELS)  ## rewrite only the section on models of frameworks (FIXTURES=directory)
	$(BIN)/python benchmarks/frameworks.py $(FIXTURES)

docs: $(STAMP)  ## regenerate the reference pages from the instruction tables
	$(BIN)/python -m isa.docgen

bless: $(STAMP)  ## rewrite golden files; review the difference
	$(BIN)/python -m pytest -q -m "not slow" --bless

clean:  ## remove .venv and everything built
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find isa compiler neuronsim profiler tests -name __pycache__ -prune -exec rm -rf {} +
	rm -f neuronsim/_core/*.so
