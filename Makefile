# One command for each chore. People, hooks and CI call the same targets.

PYTHON := .venv/bin/python
PYTEST := $(PYTHON) -m pytest
# Tests share nothing, so they may run side by side: `make test JOBS=0` runs them in one process.
JOBS ?= 2
# How long `make simulate` simulates hubs on PostgreSQL before it goes on with the others.
MINUTES ?= 30

.DEFAULT_GOAL := help
.PHONY: help setup run test check newest lint bench simulate planted crash docs hubs client console pictures

help:  ## list the commands
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /make \1	/' | expand -t 16

setup: .venv/.ready  ## make the environment in .venv, from uv.lock

.venv/.ready: pyproject.toml uv.lock js/package-lock.json
	python3 -m venv .venv && .venv/bin/pip install -q uv && .venv/bin/uv sync --frozen --inexact --all-extras
	$(PYTHON) -m tests.pgbouncer
	$(PYTHON) -m tests.javascript
	@touch $@

run: setup  ## two devices in the browser, and the story of a sync in the terminal
	$(PYTHON) examples/web --story --open $(ARGS)

test: setup  ## all tests
	$(PYTEST) -n $(JOBS) $(ARGS)

lint: setup  ## formatting, lint, types, import layers
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports --no-cache
	@if [ -d js/node_modules ]; then cd js && npx tsc --noEmit && npx tsc -p console && npx biome ci . ; \
		elif [ -n "$$CI" ]; then echo "js/node_modules is missing: make setup says why"; exit 1; \
		else echo "TypeScript is not looked at: make setup says what is missing"; fi

client: setup  ## build the browser client that hubs serve, from js/
	cd js && node build.mjs
	rm -rf src/reunite/server/client
	cp -r js/dist/client.js js/dist/client src/reunite/server/
	cp js/dist/dsn.js src/reunite/dropin/dsn_sync/client.js

console: setup  ## build the console that hubs serve, from js/console/
	cd js && node console/build.mjs ../src/reunite/console/static

pictures: setup  ## take the manual's pictures of the console again
	cd js && REUNITE_SCREENSHOTS=../docs/screenshots npx vitest run console/pages console/permissions.test console/deeds console/doors

docs: setup  ## refresh the generated pages, run the manual's examples, check its links
	$(PYTHON) -m docs.generate_reference
	$(PYTEST) tests/docs $(ARGS)

newest: setup  ## Django's tests on the newest Django and Python 3.13, if there is one
	$(PYTHON) -m tests.newest $(JOBS)

check: lint newest  ## what CI runs: lint, then all tests, those of the docs among them
	$(PYTEST) -n $(JOBS) $(ARGS)

bench: setup  ## speed beside its limit, measured in the same run
	$(PYTHON) -m benchmarks $(ARGS)

hubs: setup  ## every story of a pair with every kind of hub, the slow ones too
	REUNITE_HUBS="memory sqlite postgresql" $(PYTEST) -n $(JOBS) tests/pair $(ARGS)
	REUNITE_HUBS=postgresql REUNITE_POOLER=pgbouncer $(PYTEST) -n $(JOBS) tests/pair \
		tests/contract/test_sql_store_postgresql.py $(ARGS)

simulate: setup  ## thousands of kills, then fresh seeds until stopped; SEED=4711 runs one seed
	$(if $(SEED)$(ARGS),,$(PYTHON) -m tests.crash all)
	$(if $(SEED)$(ARGS),,$(MAKE) hubs)
	$(if $(SEED)$(ARGS),,$(PYTHON) -m tests.simulation --hub postgresql --minutes $(MINUTES))
	$(PYTHON) -m tests.simulation $(if $(SEED),--seed $(SEED)) $(ARGS)

crash: setup  ## kill -9 at every edge, then at random moments; ARGS="soak --kills 5000"
	$(PYTHON) -m tests.crash $(or $(ARGS),all)

planted: setup  ## plant deliberate bugs into copies of the code, and find each with fresh seeds
	$(PYTHON) -m tests.planted $(ARGS)
