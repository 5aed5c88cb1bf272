# `make help` lists everything.  Nothing here needs root, Docker or a running service.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

BIN := .venv/bin
export PY TORCH

# One thread a fit and no spinning: with the defaults of OpenMP, two fits at once on two cores take 100 times as long.
# libgomp reads these when it is loaded, so they are set before any Python starts.
export OMP_NUM_THREADS ?= 1
export OMP_WAIT_POLICY ?= passive

# Some shells forbid Python to keep what it compiled; then each of the service's processes compiles torch anew.
unexport PYTHONDONTWRITEBYTECODE

WORKERS ?= 2
PYTEST := $(BIN)/python -m pytest
PARALLEL := -n $(WORKERS) --dist loadgroup --no-loadscope-reorder

.PHONY: help
help:  ## this list
	@echo "Assay: a table in, one ONNX graph out."
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "Settings:  PY=python3.12   the Python for .venv (3.11 or newer; 3.11 is what the lock was made with)"
	@echo "           TORCH=cpu       take torch from PyTorch's index of CPU builds (much smaller)"
	@echo "           WORKERS=4       processes the tests run in (2)"
	@echo "           ARGS='-k lease' more arguments for pytest, the server or the benchmark"
	@echo "First time here:  make demo   (a minute of installing, then a model from a sample table)"

.PHONY: setup
setup:  ## .venv with everything for work on the code; seconds when it is up to date
	@scripts/setup.sh test

.PHONY: setup-run
setup-run:  ## .venv with what the service needs, without the tools of the tests
	@scripts/setup.sh run

.PHONY: demo
demo: setup-run  ## set up, start a private service, train on a sample table, ask the model
	@$(BIN)/python -m app.demo $(ARGS)

.PHONY: serve
serve: setup-run  ## the service with its workers on this machine: http://127.0.0.1:8000
	@$(BIN)/assay serve $(ARGS)

.PHONY: test
test: setup check  ## everything that must pass: check, then the tests
	$(PYTEST) $(PARALLEL) $(ARGS)

.PHONY: test-slow
test-slow: setup  ## the tests that take minutes, which `make test` leaves out
	$(PYTEST) $(PARALLEL) -m "slow and not chaos and not browser and not fuzz" --timeout=1800 $(ARGS)

.PHONY: check
check: setup  ## lint, format, types, import contracts, migrations that match the tables
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@home=$$(mktemp -d); trap 'rm -rf "$$home"' EXIT; export DATABASE_URL="sqlite:///$$home/check.db"; \
	$(BIN)/alembic upgrade head && $(BIN)/alembic check

.PHONY: format
format: setup  ## put the code into the house format
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

.PHONY: chaos
chaos: setup  ## kill and freeze workers at random; no job may be lost or done twice
	CHAOS_REPORT=1 $(PYTEST) tests/chaos -m chaos --timeout=1800 $(ARGS)

.PHONY: fuzz
fuzz: setup  ## property tests with many examples, minutes long
	$(PYTEST) $(PARALLEL) -m fuzz --timeout=1800 $(ARGS)

.PHONY: bench
bench: setup  ## load and latency of the service
	$(BIN)/python -m benchmarks.service $(ARGS)

.PHONY: lock
lock: setup  ## write constraints.txt from what is installed in .venv
	@$(BIN)/python scripts/lock.py

.PHONY: clean
clean:  ## remove .venv, caches and build leftovers (never data)
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis catboost_info
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
