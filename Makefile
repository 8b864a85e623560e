# `make` says what there is. Everything happens in .venv, from a bare Python 3.11 or newer.

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell command -v python3.11 || command -v python3)
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet install -c constraints.txt

.PHONY: help install demo test quick checks reproduce reproduce-m4oe reproduce-train challenges schema clean

help:  ## Show this list
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 18 | sed 's/^/make /'

install: $(VENV)/.installed  ## Make .venv and install sam-moe into it, editable

demo: install  ## Segment the real scans that ship, MR and CT, from points and boxes, into demo-output/
	$(BIN)/sam-moe demo --out demo-output

test: checks  ## Check style, types and imports, then run every test this machine can run
	$(PYTEST)

quick: checks  ## The same without the tests that take longer than a second
	$(PYTEST) -m "not slow"

checks: $(VENV)/.tests
	$(BIN)/ruff check .
	$(BIN)/mypy sam_moe
	$(BIN)/lint-imports

# The data folder: SAM_MOE_DATA, by default ../shared/data.
DATA := $(or $(SAM_MOE_DATA),../shared/data)
EXPERTS := esophagus spinal-cord hippocampus soft-tissue-tumour

reproduce: $(VENV)/.benchmarks  ## The mixture's table and picture, from the shipped weights and the data folder
	$(BIN)/python -m benchmarks.mixture.reproduce

reproduce-m4oe: $(VENV)/.benchmarks  ## The automatic models' table and pictures, from the shipped weights and the data folder
	$(BIN)/python -m benchmarks.mixture.reproduce_m4oe

reproduce-train: $(VENV)/.benchmarks  ## The same from nothing: some hours of training on two cores first
	BIN=$(BIN) DATA=$(DATA) EXPERTS="$(EXPERTS)" sh benchmarks/train_all.sh
	$(BIN)/python -m benchmarks.mixture.reproduce

challenges: $(VENV)/.benchmarks  ## The challenges' results and reports anew, from the shipped weights and the data folder
	$(BIN)/python -m benchmarks.challenges.evaluate --fresh

schema: install  ## Write prompts/promptset.schema.json from the records
	$(BIN)/python -c "import json; from sam_moe.files import replace_text; from sam_moe.prompts import promptset; \
	replace_text('prompts/promptset.schema.json', json.dumps(promptset.json_schema(), indent=2) + '\n')"

clean:  ## Remove .venv, the demonstration's output and all caches
	rm -rf $(VENV) build dist demo-output *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

# Stamps: installing again waits until what is installed has changed.
$(VENV)/.installed: setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	{ echo "sam-moe needs Python 3.11 or newer; found '$(PYTHON)'. Try: make PYTHON=/path/to/python3.11"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV); the first time takes some minutes."
	$(PIP) torch==2.13.0
	$(PIP) -e .
	@touch $@

$(VENV)/.benchmarks: $(VENV)/.installed
	$(PIP) -e '.[benchmarks]'
	@touch $@

$(VENV)/.tests: $(VENV)/.installed
	$(PIP) -e '.[test]'
	@touch $@
