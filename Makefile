# Sets everything up and runs the jobs. `make certify` and `make test` are all that a newcomer needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export UV_PROJECT_ENVIRONMENT := $(VENV)

# What is certified on real time: scenario 1 and what it carries. Scenarios that burn a balance down take days of it.
WALL := C3-S1 C3-FR-01 C3-FR-02 C3-FR-03 C3-FR-05 C3-FR-12 C3-FR-15 C3-FR-19 C3-FR-20 C3-FR-25 C3-FR-26 C3-FR-27 C3-FR-30 \
  C3-FR-31 C3-FR-32 C3-NFR-01 C3-NFR-02 C3-NFR-03 C3-NFR-06 C3-NFR-07 C3-BR-01 C3-BR-02

.PHONY: certify certify-wall soak test lint bench docs trace defects lock clean setup apt node-client
.DEFAULT_GOAL := help

.PHONY: help
help: ## Show what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

certify: $(VENV)/.ready browser ## Run the suites on the twin bench and judge
	$(BIN)/twinbench certify --bench inventory/benches/twin.yaml

certify-wall: $(VENV)/.ready browser ## The same on real time, against twins in a process of their own as if they were hardware (WALL=ID: only that)
	$(BIN)/python -m bench.wall inventory/benches/twin.yaml inventory/benches/lab-example.yaml $(WALL:%=--only %)

soak: $(VENV)/.ready browser ## The healthy twin bench with 20 seeds: none may fail (SOAK="--seeds 3 --only ID": fewer)
	$(BIN)/python -m bench.soak $(SOAK)

# One more than there are cores: many a test waits for real time to pass.
WORKERS := $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)
test: $(VENV)/.ready apt browser node-client ## Run all tests
	$(BIN)/pytest -n $(WORKERS) --dist loadfile --durations=25

lint: $(VENV)/.ready ## Check style and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(VENV)/.ready browser ## Measure and hold against the targets (BENCH="relay meter": only these)
	$(BIN)/python -m benchmarks $(BENCH)

docs: $(VENV)/.ready ## Build the documentation into build/docs
	$(BIN)/python docs/build.py

trace: $(VENV)/.ready ## Show requirement -> tests -> defects -> last verdict
	$(BIN)/twinbench trace

defects: $(VENV)/.ready browser ## Run every seeded defect
	$(BIN)/twinbench defects

setup: $(VENV)/.ready ## Only set up

# uv does the installing; where it is missing it goes into an environment of its own beside the project's.
UV := $(shell command -v uv 2>/dev/null || echo .uv/bin/uv)

.uv/bin/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "twinbench needs Python 3.11 or later; $(PYTHON) is $$($(PYTHON) --version)"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || $(MAKE) --no-print-directory venv-package
	$(PYTHON) -m venv .uv
	.uv/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt

.PHONY: venv-package
venv-package:
	@if [ "$$(id -u)" = 0 ]; then apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv >/dev/null; \
	else echo "Python's venv is missing here; run: sudo apt-get install python3-venv"; exit 1; fi

$(VENV)/.ready: requirements/dev.txt pyproject.toml | $(filter .uv/bin/uv,$(UV))
	$(UV) venv --quiet --allow-existing --python $(PYTHON) $(VENV)
	$(UV) pip sync --quiet --python $(BIN)/python --require-hashes requirements/dev.txt
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

# Tests drive the twins with clients that aren't ours, too: mbpoll and sigrok-cli are two.
CLIENTS := mbpoll sigrok-cli socat
apt:
	@for client in $(CLIENTS); do command -v $$client >/dev/null || missing=1; done; test -z "$$missing" || if [ "$$(id -u)" = 0 ]; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(CLIENTS) >/dev/null; \
	else echo "tests need $(CLIENTS); run: sudo apt-get install $(CLIENTS)"; exit 1; fi
	@ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || if [ "$$(id -u)" = 0 ]; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(POSTGRESQL) >/dev/null; \
	else echo "tests need $(POSTGRESQL); run: sudo apt-get install $(POSTGRESQL)"; exit 1; fi

# Pages are seen in a real browser; tests of the data base start Debian's PostgreSQL on a port of their own.
# The headless build of Chromium is the faster one; the whole browser does, too, where it is there.
BROWSER := chromium-headless-shell chromium-driver
POSTGRESQL := postgresql

.PHONY: browser
browser:
	@{ command -v chromium-headless-shell && command -v chromedriver; } >/dev/null || if [ "$$(id -u)" = 0 ]; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(BROWSER) >/dev/null; \
	elif ! { command -v chromium && command -v chromedriver; } >/dev/null; then \
	  echo "the website's steps need $(BROWSER); run: sudo apt-get install $(BROWSER)"; exit 1; fi

# The mirror is tested with node-opcua; npm's lock file would hold addresses, so the version is pinned in package.json.
NODE_CLIENT := tests/clients/opcua

node-client: $(NODE_CLIENT)/node_modules/.ready

$(NODE_CLIENT)/node_modules/.ready: $(NODE_CLIENT)/package.json
	@{ command -v node && command -v npm; } >/dev/null || if [ "$$(id -u)" = 0 ]; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends nodejs npm >/dev/null; \
	else echo "tests need node and npm; run: sudo apt-get install nodejs npm"; exit 1; fi
	cd $(NODE_CLIENT) && npm install --no-package-lock --no-audit --no-fund --ignore-scripts --loglevel=error
	@touch $@

lock: | $(filter .uv/bin/uv,$(UV)) ## Resolve and lock the requirements anew
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header pyproject.toml -o requirements/run.txt
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header pyproject.toml --group dev -o requirements/dev.txt
	echo uv | $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header - -o requirements/uv.txt

clean: ## Remove what was made
	rm -rf $(VENV) .uv runs build .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis $(NODE_CLIENT)/node_modules
