# Every target makes .venv if it is not there and uses it; nothing else needs to be installed but Python 3.11 or newer.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
INTEGRATIONS := $(VENV)/.integrations
PEERS := $(VENV)/.peers
ALL_EXPERIMENTS := $(basename $(notdir $(wildcard experiments/e[0-9]*.py)))
EXPERIMENTS := $(filter-out %_longer,$(ALL_EXPERIMENTS))
FETCHED := concrete fashion-mnist king-james-bible minilm shakespeare spam state-of-the-union
BENCHMARKS := $(VENV)/.bench

.DEFAULT_GOAL := help
.PHONY: calibrate docs gallery help experiments experiments-all smoke report papers test check live pytest lint types layers integrations bench tensorboard clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-15s %s\n", $$1, $$2}'

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: Python 3.11 or newer is needed, $(PYTHON) is older; call make with PYTHON=python3.12, say"; exit 2; }
	@echo "installing into $(VENV), which takes a minute or two"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]'
	@touch $@

# Optimizers of other packages, that experiments compare with; smoke does without, and rows that lack theirs are left out.
$(PEERS): $(STAMP)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test,peers]' \
		&& touch $@ || echo "the optimizers of other packages could not be installed: their rows are left out"

experiments: $(PEERS) ## Run every experiment and write report/index.html (half an hour on two cores; interrupt and repeat as you like)
	$(BIN)/adaptive-lr run $(EXPERIMENTS)

experiments-all: $(PEERS) ## Those and the longer ones (hours), on data that are fetched; what cannot be fetched is left out
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test,data]'
	$(BIN)/adaptive-lr data fetch $(FETCHED) || echo "the workloads on what is not fetched are left out"
	$(BIN)/adaptive-lr run $(ALL_EXPERIMENTS)

smoke: $(STAMP) ## Those of make experiments at a size that ends in a minute or two, into report/smoke
	$(BIN)/adaptive-lr run $(EXPERIMENTS) --smoke

papers: $(STAMP) ## Measure what papers claim, and judge it; ADAPTIVE_LR_RECORDED=FOLDER for those about recorded runs
	$(BIN)/adaptive-lr papers

report: $(STAMP) ## Write the report again from finished trials
	$(BIN)/adaptive-lr report $(EXPERIMENTS)

tensorboard: $(STAMP) ## Open the training curves
	$(BIN)/tensorboard --logdir runs

test: check ## Everything that has to pass: lint, types, layers, tests, doctests

# mypy uses one core for as long as half of the tests take, so the tests run beside it. What the others say comes in one
# piece each, the dots of the tests as they are made; when one part fails the others still run, and the exit code is 2.
check: $(STAMP)
	@$(MAKE) --no-print-directory --jobs 2 --keep-going --output-sync=target lint layers types live

live: $(STAMP)
	@$(MAKE) --no-print-directory --output-sync=none pytest

pytest: $(STAMP)
	$(BIN)/python -m pytest --numprocesses auto --quiet

lint: $(STAMP) ## Formatting and lint
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(STAMP) ## Static types
	$(BIN)/mypy

layers: $(STAMP) ## Which module may import which
	$(BIN)/lint-imports --no-cache

$(INTEGRATIONS): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test,integrations]'
	@touch $@

integrations: $(INTEGRATIONS) ## The scheduler inside Lightning, transformers, Accelerate and ignite, which it installs
	$(BIN)/python -m pytest tests/integration -m 'not gpu' --quiet

$(BENCHMARKS): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test,bench]'
	@touch $@

bench: $(BENCHMARKS) ## Ratios of speed against the usual ways and JAX, which it installs; into docs/performance.md
	$(BIN)/python benchmarks/bench.py

calibrate: $(STAMP) ## How often intervals cover and identical schedules differ, simulated (half an hour of one core); into docs/calibration.md
	$(BIN)/python docs/make_calibration.py --run

gallery: $(STAMP) ## Draw docs/schedules.md from the schedules, and write the tables of other pages
	$(BIN)/python docs/make_gallery.py
	$(BIN)/python docs/make_data.py
	$(BIN)/python docs/make_workloads.py
	$(BIN)/python docs/make_horizons.py $(REPORT)
	$(BIN)/python docs/make_protocol.py
	$(BIN)/python docs/make_calibration.py
	$(BIN)/python docs/make_theory.py
	$(BIN)/python benchmarks/bench.py --write-docs
	$(BIN)/python docs/make_evidence.py $(REPORT)

docs: $(STAMP) gallery ## Build the documentation into site/, and read it; REPORT=report/report.json takes its numbers first
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	$(BIN)/python -m pytest tests/docs/test_rendered.py --quiet

clean: ## Remove caches; results and the environment stay
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist *.egg-info
