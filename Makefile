# Few verbs. Each does its own set-up on a machine that has Python 3.11+, gcc and make.
PYTHON ?= python3
PERSONS ?= 2000
SEED ?= 1
BIN := .venv/bin
SERVE ?=

.PHONY: setup run demo test check bench docs clean

setup: .venv/ready-dev

.venv/ready-run: requirements/run.lock pyproject.toml tools/setup.py tools/install_browser_parts.py
	@$(PYTHON) tools/setup.py run

.venv/ready-dev: requirements/dev.lock pyproject.toml tools/setup.py tools/install_browser_parts.py
	@$(PYTHON) tools/setup.py dev

run: .venv/ready-run
	@$(BIN)/dmed serve --demo $(SERVE)

demo: .venv/ready-run
	@$(BIN)/dmed demo --persons $(PERSONS) --seed $(SEED)

check: .venv/ready-dev
	$(BIN)/ruff check src tests tools bench
	$(BIN)/mypy
	$(BIN)/mypy --config-file bench/mypy.ini bench
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q -p no:cacheprovider tests/tidy

test: .venv/ready-dev
	@$(PYTHON) tools/setup.py browser
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not journey" $(TESTS)
	$(BIN)/python -m pytest -m journey tests/journeys

bench: .venv/ready-dev
	@$(BIN)/python bench/run.py

docs: .venv/ready-dev
	@$(BIN)/dmed docs

clean:
	rm -rf .venv .dmed build src/dmed/pages/static/vendor

.PHONY: crash
crash: .venv/ready-dev
	@$(BIN)/python tests/load/crash.py --writes 100000 --kills 20

.PHONY: real-input
real-input: .venv/ready-dev
	@DMED_WRITE_PAGES=1 $(BIN)/python -m pytest -q tests/conformance/test_conformance_real_input.py

.PHONY: sbom audit
sbom: .venv/ready-dev
	@$(BIN)/python tools/sbom.py

# Status 2 and "not run" where the service that knows of weaknesses cannot be reached.
audit: .venv/ready-dev
	@$(BIN)/python tools/audit_dependencies.py

.PHONY: baseline
baseline: .venv/ready-dev
	@$(BIN)/python tests/load/baseline.py

# What `dmed persons learn` and `deduplicate` need beyond the platform: Splink on DuckDB.
.PHONY: batch
batch: .venv/ready-run
	$(BIN)/python -m pip install -q --require-hashes -r requirements/batch.lock
