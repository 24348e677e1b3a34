# Two commands on a fresh machine: `make demo` and `make test`. Everything they need is set up by `make setup`.
SHELL := /bin/bash
.DELETE_ON_ERROR:
.PHONY: help setup demo test unit check lint types schemas pins service bench clean up down faults

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PACKAGES := contracts $(sort $(wildcard libs/*)) infra/local $(sort $(wildcard infra/scenarios/*)) $(sort $(wildcard services/*))
MANIFESTS := $(addsuffix /pyproject.toml,$(PACKAGES))
EDITABLE := $(addprefix -e ,$(PACKAGES))
UV = $$(command -v uv || echo $(BIN)/uv)

help: ## Show what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(VENV)/.ready ## Make .venv with every package at its pin, and the driftloop command

# Hashed pins first, then our own packages without asking anybody for anything.
$(VENV)/.ready: constraints.txt $(MANIFESTS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version.split()[0])'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@command -v uv > /dev/null || test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@echo "installing $$(grep -cE '^[a-z]' constraints.txt) pinned packages into $(VENV)"
	@awk '/^[a-z]/ { wanted = /^(setuptools|wheel|packaging)==/ } wanted' constraints.txt > $(VENV)/builders.txt
	@$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r $(VENV)/builders.txt
	@$(UV) pip install --quiet --python $(BIN)/python --require-hashes --no-build-isolation --compile-bytecode -r constraints.txt
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation $(EDITABLE)
	@touch $@

demo: setup ## Replay a month of real flights through the whole circle and tell the story
	@$(BIN)/driftloop demo

up: setup ## Start Kafka, Postgres and all services here
	@$(BIN)/driftloop up --detach

down: ## Stop them
	@$(BIN)/driftloop down

test: setup ## All tests: under ten minutes on two cores
	@$(BIN)/python -m pytest -q -n 3 --dist loadscope --no-loadscope-reorder

unit: setup ## Architecture, unit and handler tests, without a broker: under a minute
	@$(BIN)/python -m pytest -q -n 2 -m "not (stack or journey or browser or process or world or faults)"

faults: setup ## Kill, stop and starve everything, and count: what is missing for this commit, the table, the score. FAST=1: as CI does
	@$(BIN)/python -m tests.faults $(if $(FAST),--fast)

check: lint types ## Everything that needs no running part

lint: setup
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: setup
	@$(BIN)/mypy $(addsuffix /src,$(PACKAGES))

schemas: setup ## Write JSON Schemas and the AsyncAPI document from the event classes
	@$(BIN)/python -m driftloop_contracts.schemas contracts

# One set of pins for all, for every platform; no registry is named in it.
pins: ## Resolve constraints.txt anew from all pyproject.toml files
	@$(UV) export --quiet --all-packages --all-groups --no-emit-workspace --no-header --no-annotate -o constraints.txt

service: setup ## Create a service: make service NAME=x
	@$(BIN)/python infra/template/create.py "$(NAME)"

bench: setup ## CPU per event of the monitor's path and per request of serving's, beside plain loops
	@DRIFTLOOP_BENCH=full $(BIN)/python -m pytest -q -s tests/load

clean: ## Remove what was made here: .venv, the stack's data
	@rm -rf $(VENV) .driftloop
