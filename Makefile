# fedkit: every command sets up $(VENV) first, and skips that in a blink when nothing has changed.
# Windows, or no make: CONTRIBUTING.md gives the same commands without it.

VENV ?= .venv
JOBS ?= 2
TUTORIAL := 00 01 02 03 04

# The first Python that really starts and is new enough; python3 itself is preferred.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.14 python; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$p" && break; done)

BIN := $(VENV)/bin
SETUP = $(PYTHON) tools/setup.py --venv "$(VENV)"

# Small tensors: one thread each is faster than many, and the same bits everywhere.
export OMP_NUM_THREADS ?= 1

.DEFAULT_GOAL := help
.PHONY: help run test test-all lab course lessons book bench setup setup-dev browser syncthing clean distclean python

help:
	@echo "make run      the tutorial: notebooks $(TUTORIAL), executed copies and a summary in runs/"
	@echo "make lab      JupyterLab on the course"
	@echo "make course   every notebook of both editions, in batch"
	@echo "make lessons  every edition of every lesson, from notebooks/src; LESSON_LANG=de the German ones alone"
	@echo "make book     the course as pages to read, in runs/book/html"
	@echo "make test     all checks and tests"
	@echo "make test-all the same, slow tests and twenty times as many random cases too: an hour or more"
	@echo "make bench    the ratios of benchmarks/"
	@echo "make clean    removes runs/ and caches; make distclean also removes $(VENV)"

run: setup
	@"$(BIN)/fedkit" course run $(TUTORIAL)

lab: setup
	@"$(BIN)/jupyter" lab notebooks/00_start_here.ipynb

course: setup
	@"$(BIN)/fedkit" course run; learner=$$?; \
	"$(BIN)/fedkit" course run --edition solutions --out runs/solved && exit $$learner

lessons: setup-dev
	@"$(BIN)/python" -m tools.course build $(if $(LESSON_LANG),--lang "$(LESSON_LANG)")

book: python
	@$(SETUP) --book
	@"$(BIN)/python" -m tools.book

test: setup-dev browser syncthing
	"$(BIN)/ruff" check .
	"$(BIN)/ruff" format --check .
	"$(BIN)/mypy"
	"$(BIN)/python" -m tools.course check
	"$(BIN)/python" -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

test-all: export FEDKIT_FUZZ ?= 20
test-all: test

bench: setup
	@"$(BIN)/python" -m benchmarks

setup: python
	@$(SETUP)

setup-dev: python
	@$(SETUP) --dev

browser: setup-dev
	@$(SETUP) --dev --browser

syncthing: setup-dev
	@$(SETUP) --dev --syncthing

python:
	@test -n "$(PYTHON)" || { \
	echo "set-up: no Python 3.11 or newer was found ($$(python3 --version 2>&1))."; \
	echo "  -> Debian, Ubuntu: sudo apt-get install python3 python3-venv; where that is older than 3.11,"; \
	echo "     install a newer one beside it and name it: make PYTHON=/path/to/python3.12 ..."; exit 1; }

clean:
	rm -rf runs notebooks/runs notebooks/solutions/runs .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find fedkit tests benchmarks tools notebooks -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

distclean: clean
	rm -rf "$(VENV)"
