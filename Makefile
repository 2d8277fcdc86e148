# One entry for people and CI. Each target works from a fresh clone: it makes the virtual environment first.
VENV := .venv
STAMP := $(VENV)/.stamp
BIN := $(VENV)/bin
BENCH_VENV := .venv-bench
BENCH_STAMP := $(BENCH_VENV)/.stamp
REQUIREMENTS := requirements-dev.txt requirements.txt meta/ee-requirements.txt
# Two at a time: much of a test's time is spent waiting for clusters, and each worker has clusters of its own.
SIDE_BY_SIDE := --numprocesses 2 --dist loadfile
export PATH := $(CURDIR)/$(BIN):$(PATH)
# mypy and pytest must see the checkout, never another collection path of the caller's.
unexport ANSIBLE_COLLECTIONS_PATH
unexport PYTHONPATH

.DEFAULT_GOAL := help
.PHONY: help venv test lint ansible-lint sanity unit integration binaries demo down bench pages keys build clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F '\t' '{printf "  %-14s %s\n", $$1, $$2}'

venv: $(STAMP) ## the virtual environment, made anew only when a requirements file changed

$(STAMP): $(REQUIREMENTS)
	@test -x $(BIN)/python || { python=$$(sh tests/find-python) && echo "$(VENV) from $$python" && $$python -m venv $(VENV); }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

$(BENCH_STAMP): tests/bench/requirements.txt $(STAMP)
	@test -x $(BENCH_VENV)/bin/python || $(BIN)/python -m venv $(BENCH_VENV)
	@$(BENCH_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r tests/bench/requirements.txt
	@touch $@

test: lint ansible-lint sanity binaries ## everything: lint, types, unit and integration tests
	@pytest $(SIDE_BY_SIDE) tests/unit tests/integration

lint: $(STAMP) ## ruff (style and format), mypy --strict, yamllint, playbook syntax
	@ruff check .
	@ruff format --check --quiet .
	@mypy
	@yamllint --strict .
	@ansible-playbook site.yml -i inventories/prod --syntax-check

ansible-lint: $(STAMP) ## ansible-lint, profile production, nothing skipped
	@ansible-lint

sanity: $(STAMP) ## ansible-test sanity on a copy, without containers
	@python -m tests.sanity.run

unit: $(STAMP) ## the tests that need no cluster
	@pytest $(SIDE_BY_SIDE) tests/unit

integration: binaries ## the tests against real control planes
	@pytest $(SIDE_BY_SIDE) tests/integration

binaries: $(STAMP) ## the lab's control planes, built once, which takes about 13 minutes
	@python -m tests.lab build

demo: $(STAMP) ## two local clusters with a mesh on them, then the same run again: it changes nothing
	@python -m tests.demo

down: $(STAMP) ## stop the local clusters
	@python -m tests.lab down

bench: $(BENCH_STAMP) ## a table beside kubernetes.core, kubectl and the bare LIST; BENCH="--write" puts it into docs/bench.md
	@python -m tests.bench $(BENCH)

pages: $(STAMP) ## docs/checks, written from the checks themselves
	@PYTHONPATH=collections python -m tests.pages

keys: $(STAMP) ## the fields and variables that the checks know of Istio, read from the lab's Go modules (needs Go)
	@python -m tests.keys

build: $(STAMP) ## the artefact, into build/
	@ansible-galaxy collection build --force --output-path build

clean: ## stop the local clusters, remove caches and what was built; the virtual environments stay
	@test ! -x $(BIN)/python || $(BIN)/python -m tests.lab down
	@rm -rf build .cache .ansible .lab .mypy_cache .pytest_cache .ruff_cache
	@find plugins tests -name __pycache__ -type d -prune -exec rm -rf {} +
