# Every target sets up what it needs in .venv: a bare clone, Python 3.11 and make are enough. With a Rust
# toolchain the native engine is built too; without one everything works in pure Python.
#
#   make test PY=/usr/bin/python3.12         another Python
#   make test ARGS="-k router"               more arguments for the command behind the target

PY ?= $(shell for python in python3 python3.11 python3.12 python3.13 python3.14; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
VENV ?= .venv
BIN := $(VENV)/bin
PYTHON := $(BIN)/python
CARGO := $(shell command -v cargo 2>/dev/null)
ARGS ?=
SECONDS ?= 60

NATIVE := $(wildcard native/Cargo.toml native/Cargo.lock) $(shell find native/src -name '*.rs' 2>/dev/null)
# Installed again when a Rust toolchain has come or gone.
INSTALLED := $(VENV)/.installed$(if $(CARGO),-with-cargo)
INSTALLED_BENCH := $(VENV)/.installed-bench
INSTALLED_AUDIT := $(VENV)/.installed-audit
INSTALLED_FUZZ := $(VENV)/.installed-fuzz

# pyo3 must be built for the Python of the environment, wherever cargo is called.
export PYO3_PYTHON := $(abspath $(PYTHON))

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test check fmt fmt-check lint type native-check bench bench-micro fuzz torture attack audit sbom docs clean test-stores check-deploy torture-store

help: ## show this list
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "make %-11s  %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(INSTALLED) ## run the whole pipeline on this machine, with a verdict (about 30 seconds)
	$(PYTHON) -m logflow demo $(ARGS)

test: $(INSTALLED) ## run the tests
	$(PYTHON) -m pytest -n 2 $(ARGS)

test-stores: $(INSTALLED) ## run the tests against real stores, fetched once into ~/.cache/logflow-stores (needs the network)
	$(PYTHON) -m tools.servers
	LOGFLOW_TEST_STORES=1 $(PYTHON) -m pytest tests/stores $(ARGS)

check: fmt-check lint type native-check test ## all that CI checks: format, lint, types, tests

fmt: $(INSTALLED) ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix --silent . || true
	$(if $(CARGO),cargo fmt --manifest-path native/Cargo.toml)

fmt-check: $(INSTALLED)
	$(BIN)/ruff format --check .

lint: $(INSTALLED) ## lint
	$(BIN)/ruff check .

type: $(INSTALLED) ## check types
	$(BIN)/mypy --python-executable $(PYTHON)

ifdef CARGO
native-check: $(INSTALLED)
	cargo fmt --manifest-path native/Cargo.toml --check
	cargo clippy --manifest-path native/Cargo.toml --quiet --all-targets -- --deny warnings
	cargo test --manifest-path native/Cargo.toml --quiet --no-default-features
else
native-check:
	@echo "There is no cargo: the native engine is not checked."
endif

bench: $(INSTALLED_BENCH) ## run all benchmarks and print ratios
	$(PYTHON) benchmarks/run.py $(ARGS)

bench-micro: $(INSTALLED) ## measure every function of the engines by itself
	$(PYTHON) -m pytest benchmarks/micro --benchmark-quiet --speeds benchmarks/results/micro.json $(ARGS)

fuzz: $(INSTALLED_FUZZ) ## feed all that reads bytes from outside with hostile input, a minute each: make fuzz SECONDS=600
	$(if $(CARGO),native/fuzz.sh $(SECONDS))
	$(PYTHON) -m tools.fuzz --seconds $(SECONDS) $(ARGS)

torture: $(INSTALLED) ## kill, cut and fill for a minute, then count what was lost or doubled
	$(PYTHON) -m tools.torture $(ARGS)

torture-store: $(INSTALLED) ## the same with a store behind Elasticsearch's bulk interface, which is killed too
	$(PYTHON) -m tools.torture.store $(ARGS)

attack: $(INSTALLED) ## send hostile input for two minutes, and see how sane clients fare beside it
	$(PYTHON) -m tools.attack $(ARGS)

audit: $(INSTALLED_AUDIT) ## look for known vulnerabilities in what logflow depends on (needs the network)
	$(BIN)/pip-audit --skip-editable $(ARGS)
	$(if $(CARGO),cargo audit --file native/Cargo.lock)

check-deploy: $(INSTALLED) ## check the chart, manifests, alerts, units and the compose file with the tools that read them
	$(PYTHON) -m tools.check_deploy

sbom: $(INSTALLED) ## write a bill of materials in the CycloneDX form to dist/sbom.json
	mkdir -p dist
	$(PYTHON) -m tools.sbom > dist/sbom.json

docs: $(INSTALLED) ## write the generated pages of docs/
	$(PYTHON) -m logflow.config.reference > $(VENV)/configuration.md
	mv $(VENV)/configuration.md docs/configuration.md
	$(PYTHON) -m logflow.expressions.reference docs/expressions.md > $(VENV)/expressions.md
	mv $(VENV)/expressions.md docs/expressions.md

clean: ## remove the environment and everything that was built
	rm -rf $(VENV) build dist native/target *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	rm -f logflow/engine/_native*.so

$(PYTHON):
	@test -n "$(PY)" || { echo "logflow needs Python 3.11 or newer; name one with PY=/path/to/python" >&2; exit 1; }
	$(PY) -m venv $(VENV)

$(INSTALLED): pyproject.toml $(wildcard setup.py) $(NATIVE) | $(PYTHON)
	@echo "Installing logflow and its tools into $(VENV)."
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@$(PYTHON) -m logflow --version
	@touch $@

$(INSTALLED_AUDIT): $(INSTALLED)
	$(PYTHON) -m pip install --quiet --disable-pip-version-check pip-audit
	@touch $@

$(INSTALLED_FUZZ): $(INSTALLED)
	$(PYTHON) -m pip install --quiet --disable-pip-version-check atheris
	@touch $@

$(INSTALLED_BENCH): $(INSTALLED)
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	@touch $@
