# `make` alone tells what there is. Needs python3 (3.11 or newer) and make; the rest is installed
# in .venv here, and nowhere else.

SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= python3
PYTEST_ARGS ?=
# Test processes at a time, of one thread each; each needs a gigabyte or two.
JOBS ?= 2
BACKENDS := jax tensorflow torch

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
LOGS := .logs

# The demo is content with a tenth of it all, unless it is all there already.
DEMO_VENV := $(if $(wildcard $(READY)),$(VENV),.venv-demo)
DEMO_READY := $(DEMO_VENV)/.ready
DEMO_ARGS ?=
# Such as --part callbacks --multiplier 2 --keep.
KERAS_OWN_ARGS ?=

export TF_CPP_MIN_LOG_LEVEL := 3
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYTHONUNBUFFERED := 1
# mkdocs-material prints a page about MkDocs 2 on every build; ours is pinned below 2.
export NO_MKDOCS_2_WARNING := 1

.PHONY: help
help: ## tell what there is
	@grep -hE '^[a-z%-]+:.*## ' $(firstword $(MAKEFILE_LIST)) \
	  | awk -F':.*## ' '{ printf "  make %-16s %s\n", $$1, $$2 }'

.PHONY: setup
setup: $(READY) ## install everything, all three backends too, in .venv

.PHONY: demo
demo: $(DEMO_READY) ## install what the demo needs and run it
	KERAS_BACKEND=$${KERAS_BACKEND:-jax} $(DEMO_VENV)/bin/difflr demo $(DEMO_ARGS)

.PHONY: test
test: $(READY) ## run the tests on JAX, TensorFlow and PyTorch
	@rm -rf $(LOGS)
	@failed=; \
	for backend in $(BACKENDS); do \
	  $(MAKE) --no-print-directory test-$$backend || failed="$$failed $$backend"; \
	done; \
	for backend in $(BACKENDS); do \
	  echo; echo "the tests on $$backend"; tail -n 1 $(LOGS)/$$backend.log; \
	done; \
	if [ -n "$$failed" ]; then echo; echo "failed on:$$failed"; exit 1; fi

.PHONY: test-jax test-tensorflow test-torch
test-jax: ## run the tests on one backend (PYTEST_ARGS="-k name" picks some)
test-tensorflow: ## the same
test-torch: ## the same
$(BACKENDS:%=test-%): test-%: $(READY)
	@mkdir -p $(LOGS)
	@echo; echo "the tests on $*"
	@set -o pipefail; KERAS_BACKEND=$* COVERAGE_FILE=$(CURDIR)/.coverage.$* MPLBACKEND=agg OMP_NUM_THREADS=1 \
	  $(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile $(PYTEST_ARGS) 2>&1 | tee $(LOGS)/$*.log

# Counting takes as long again as the tests themselves.
.PHONY: coverage
coverage: $(READY) ## run the tests and report which lines none of the three backends reaches
	@rm -f .coverage .coverage.*
	@$(MAKE) --no-print-directory test PYTEST_ARGS="--cov --cov-report= $(PYTEST_ARGS)"
	@$(BIN)/coverage combine --quiet; $(BIN)/coverage report

.PHONY: distribution
distribution: $(READY) ## train on several devices and in several processes, every way, on all three backends
	@failed=; for backend in $(BACKENDS); do \
	  echo; echo "several devices on $$backend"; \
	  DIFFLR_DISTRIBUTION=full KERAS_BACKEND=$$backend MPLBACKEND=agg \
	    $(BIN)/python -m pytest tests/distribution $(PYTEST_ARGS) || failed="$$failed $$backend"; \
	done; \
	if [ -n "$$failed" ]; then echo; echo "failed on:$$failed"; exit 1; fi

.PHONY: lint
lint: $(READY) ## check the style, the form and the types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell src docs examples benchmarks *.md
	$(BIN)/codespell --builtin en-GB_to_en-US -L grey src tests tools examples docs *.md
	$(BIN)/python tools/prose.py

.PHONY: format
format: $(READY) ## put the form right, and what else ruff can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: outputs
outputs: $(READY) ## run the examples and the tutorial, write down what they print, make the notebook
	KERAS_BACKEND=torch MPLBACKEND=agg $(BIN)/python tools/outputs.py

.PHONY: stubs
stubs: $(READY) ## write what type checkers see of the optimizers and layers (after an update of Keras, or new arguments)
	KERAS_BACKEND=$${KERAS_BACKEND:-torch} $(BIN)/python tools/stubs.py

.PHONY: docs
docs: $(READY) ## build the documentation in site/
	KERAS_BACKEND=jax $(BIN)/mkdocs build --strict --quiet
	@echo "the documentation is in site/index.html; to search in it: python3 -m http.server --directory site"

.PHONY: dist
dist: $(READY) ## build the wheel and the source distribution, and check them
	$(BIN)/python -m pip install -qq --editable '.[release]'
	@rm -rf dist
	$(BIN)/python -m build --installer pip . > /dev/null
	$(BIN)/twine check --strict dist/*
	$(BIN)/check-wheel-contents dist/*.whl

.PHONY: try-dist
try-dist: ## install the wheel into an empty environment for each backend, and use it there
	$(PYTHON) tools/try_dist.py

.PHONY: bench
bench: $(READY) ## measure the cost of a step against the stock optimizers
	@if [ -f benchmarks/run.py ]; then $(BIN)/python benchmarks/run.py; \
	else echo "there is no benchmarks/run.py yet"; exit 1; fi

.PHONY: checks
checks: $(READY) ## try twelve things on Keras alone and on difflr, on three backends; write docs/twelve_checks.md
	$(BIN)/python -m benchmarks.twelve_checks

.PHONY: evidence
evidence: $(READY) ## compare ways to fine-tune on eight tasks, an hour or two; write docs/comparison.md
	KERAS_BACKEND=torch $(BIN)/python -m benchmarks.evidence

.PHONY: properties
properties: $(READY) ## try the laws of plans on thousands of random models and rules
	KERAS_BACKEND=$${KERAS_BACKEND:-torch} $(BIN)/python -m pytest tests/plan/test_properties.py \
	  --hypothesis-profile=thorough $(PYTEST_ARGS)

.PHONY: soak
soak: $(READY) ## train for an hour on each backend: does memory grow, do steps slow down?
	$(BIN)/python -m benchmarks.soak

.PHONY: matrix
matrix: $(READY) ## every Keras on every Python found (PYTHONS="3.14" KERAS="3.12.0 nightly" BACKEND=jax TESTS=tests)
	$(BIN)/nox --session matrix

.PHONY: keras-own
keras-own: $(READY) ## Keras's own tests with our optimizers in place of its own, on each backend
	$(BIN)/python -m pip install -qq --editable '.[keras-own]'
	@failed=; \
	for backend in $(BACKENDS); do \
	  KERAS_BACKEND=$$backend MPLBACKEND=agg $(BIN)/python tests/keras_own/run.py $(KERAS_OWN_ARGS) || failed="$$failed $$backend"; \
	done; \
	if [ -n "$$failed" ]; then echo "failed on:$$failed"; exit 1; fi

KILLS ?= 100
.PHONY: faults
faults: $(READY) ## kill a training KILLS=100 times on each backend, and compare with the one that was not killed
	@for backend in torch jax tensorflow; do \
	  KERAS_BACKEND=$$backend PYTHONPATH=src:tests $(BIN)/python -m faults.kill --kills $(KILLS) || exit 1; \
	done

FUZZ_SECONDS ?= 3600
.PHONY: fuzz
fuzz: $(READY) ## make up texts for every reader for FUZZ_SECONDS=3600, guided by the code they reach
	$(BIN)/python -m pip install -qq --editable '.[fuzz]'
	@mkdir -p .fuzz
	KERAS_BACKEND=torch PYTHONPATH=src:tests $(BIN)/python -m faults.fuzz .fuzz/corpus \
	  -max_total_time=$(FUZZ_SECONDS) -timeout=60 -max_len=8192 -artifact_prefix=.fuzz/

.PHONY: clean
clean: ## remove everything that was made here, the environments too
	rm -rf .venv .venv-demo .matrix $(LOGS) .coverage .coverage.* site build dist \
	  .pytest_cache .mypy_cache .ruff_cache .hypothesis .jax_cache .fuzz
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

# An environment is made once, and filled again only when pyproject.toml has changed.

$(READY): EXTRA := dev
$(VENV)-demo/.ready: EXTRA := demo

$(READY) $(VENV)-demo/.ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "difflr needs Python 3.11 or newer, and '$(PYTHON)' is: $$($(PYTHON) --version 2>&1)."; \
	  echo "Name another one: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@[ -x $(@D)/bin/pip ] || $(PYTHON) -m venv $(@D) || { \
	  echo "'$(PYTHON) -m venv' failed. On Debian and Ubuntu: apt install python3-venv"; \
	  rm -rf $(@D); exit 1; }
	$(@D)/bin/python -m pip install -qq --editable '.[$(EXTRA)]'
	$(if $(filter dev,$(EXTRA)),$(@D)/bin/python -m pip install -qq --no-deps keras-hub==0.32.0)
	@touch $@
