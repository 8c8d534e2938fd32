# Sets everything up and runs the jobs. `make certify` and `make test` are all that a newcomer needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export UV_PROJECT_ENVIRONMENT := $(VENV)

.PHONY: certify test lint bench trace defects lock clean setup apt
.DEFAULT_GOAL := help

.PHONY: help
help: ## Show what can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

certify: $(VENV)/.ready ## Run the suites on the twin bench and judge
	$(BIN)/twinbench certify --bench inventory/benches/twin.yaml

test: $(VENV)/.ready apt ## Run all tests
	$(BIN)/pytest

lint: $(VENV)/.ready ## Check style and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(VENV)/.ready ## Measure and hold against the targets
	$(BIN)/python -m benchmarks

trace: $(VENV)/.ready ## Show requirement -> tests -> defects -> last verdict
	$(BIN)/twinbench trace

defects: $(VENV)/.ready ## Run every seeded defect
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

# Tests drive the twins with clients that aren't ours, too: mbpoll is one.
apt:
	@command -v mbpoll >/dev/null || if [ "$$(id -u)" = 0 ]; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq mbpoll >/dev/null; \
	else echo "tests need mbpoll; run: sudo apt-get install mbpoll"; exit 1; fi

lock: ## Resolve and lock the requirements anew
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header pyproject.toml -o requirements/run.txt
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header pyproject.toml --group dev -o requirements/dev.txt
	echo uv | uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header - -o requirements/uv.txt

clean: ## Remove what was made
	rm -rf $(VENV) .uv runs .pytest_cache .mypy_cache .ruff_cache .hypothesis
