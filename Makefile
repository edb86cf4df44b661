# Every target sets up .venv by itself; nothing else has to be installed first but Python 3.11 or newer.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
# ../shared holds human data on machines that have it; users name their own folders
# where a phantom is made; copied over emosae/phantom/weights by hand, once it was looked at
PHANTOM ?= $(CURDIR)/outputs/phantom
export EMOSAE_DATA ?= $(wildcard $(abspath ../shared))

.PHONY: demo test test-slow check format bench phantom phantom-figures clean

demo: .venv/run.stamp  ## the embedded phantom through every stage, to a report
	$(BIN)/emosae run preset=phantom

test: .venv/dev.stamp  ## every test but the slow ones
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 -m "not slow" tests  # a thread a worker: more slow one another down

test-slow: .venv/dev.stamp
	$(BIN)/python -m pytest -q -m slow tests

check: .venv/dev.stamp  ## lint, form, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/dev.stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/dev.stamp  ## the speed claims, measured anew into benchmarks/results/
	for each in extraction ratings geometry steering start decode browse; do $(BIN)/python benchmarks/$$each.py || exit 1; done

phantom: .venv/dev.stamp  ## the embedded phantom again, from nothing and one seed: 78 minutes on two cores
	$(BIN)/python -m emosae.phantom.train --out $(PHANTOM)

phantom-figures: .venv/dev.stamp  ## what such a phantom measures, and its model card: about 45 minutes more
	$(BIN)/emosae run preset=phantom model.name=$(PHANTOM)/model "sae.path=[$(PHANTOM)/sae_layer_1_jumprelu,$(PHANTOM)/sae_layer_2_jumprelu]" output=$(PHANTOM)
	$(BIN)/python -m emosae.phantom.measure --weights $(PHANTOM) --run "$$(ls -d $(PHANTOM)/run/* | tail -n 1)" --out $(PHANTOM)/figures.json
	$(BIN)/python -m emosae.phantom.measure_steering --weights $(PHANTOM) --out $(PHANTOM)/steering.json
	$(BIN)/python -m emosae.phantom.card --weights $(PHANTOM)

.venv/run.stamp: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "emosae needs Python 3.11 or newer; run make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv .venv
	@echo 'Installing torch and what emosae needs into .venv; this takes some minutes, once.'
	$(PIP) torch
	$(PIP) -e '.[serve]'
	@touch $@

.venv/dev.stamp: .venv/run.stamp
	$(PIP) -e '.[dev]'
	@npm install --silent --fetch-retries=1 --fetch-timeout=30000 --no-fund --no-audit --no-save --prefix .venv/node axe-core@4 >/dev/null 2>&1 \
		|| echo "axe-core was not installed (it needs npm and its registry); the tests of accessibility are skipped"
	@touch $@

clean:
	rm -rf .venv outputs build dist
