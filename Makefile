# `make help` lists what there is.
PYTHON ?= python3
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help run test test-together test-alone faults mutants lint format lock audit migrate services benchmark peers package clean

help: ## Show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

run: .venv/runtime .env ## Start the application with its local inbox at http://127.0.0.1:5000
	@$(BIN)/python app.py

test: .venv/development ## Run the whole suite, after the linters
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory --keep-going test-together test-alone

# Four at once share two cores well, since tests wait a lot; those of an end in time have the machine to themselves.
test-together: .venv/development
	$(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder -m "not alone"

test-alone: .venv/development
	$(BIN)/python -m pytest -n 2 --dist load -m alone

faults: .venv/development ## Run the races, kills, flips and misbehaving servers in full number (a twentieth of it in test)
	@rm -f .faults
	FAULTS=full FAULTS_FIGURES=.faults $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder tests/faults/test_celery_kills.py tests/faults tests/services/settings/test_config_races.py tests/services/settings/test_key_rotation_faults.py tests/services/smtp/test_smtp_matrix.py tests/services/delivery/test_personal_apart.py tests/test_no_secrets.py tests/test_attacks_fuzz.py tests/blueprints/api/test_openapi.py tests/test_half_requests.py
	@$(BIN)/python -m tests.faults.figures .faults

mutants: .venv/development ## Plant mistakes in the code and see whether tests find them (hours; ARGUMENTS="--most 50" for a sample)
	@$(BIN)/python -m tests.mutants $(ARGUMENTS)

lint: .venv/development ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/development ## Put the code into the house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

migrate: .venv/runtime .env ## Bring the database's schema up to date
	@$(BIN)/flask --app app db upgrade

lock: .venv/development ## Resolve the dependencies of pyproject.toml anew
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header pyproject.toml -o requirements.txt
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header pyproject.toml --group dev -o requirements-dev.txt
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header -c requirements-dev.txt --group benchmark -o benchmarks/requirements.txt

audit: .venv/development ## Ask whether a pinned requirement has a known vulnerability
	@$(BIN)/uv tool run pip-audit@2.10.1 --strict --disable-pip --require-hashes -r requirements.txt

services: ## Install what the tests need from Debian: Chromium, Postfix with SASL, Exim, PostgreSQL, Redis, RabbitMQ, nginx, Prometheus, strace, systemd, Node with npm, PHP, and the clients of tests/interop
	@.ci/services

benchmark: .venv/benchmark ## Measure sending against its peers (20 minutes; ARGUMENTS=--quick for a look)
	@$(BIN)/python -m benchmarks $(ARGUMENTS)

peers: .venv/development ## Send through seven real servers and print the table of docs/servers.md (Debian 12, as root)
	@$(BIN)/python -m tests.peers $(ARGUMENTS)

package: .venv/development ## Build the image, boot the units and follow README on a bare Debian (ten minutes; Debian, as root)
	@$(BIN)/python -m tests.package $(ARGUMENTS)

clean: ## Remove the virtual environment and caches; .env and the database stay
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis .mutants

.env: | .venv/runtime
	@$(BIN)/python -m utils.first_env

.venv/runtime: requirements.txt | .venv/bin/uv
	@$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r requirements.txt
	@touch $@

.venv/development: requirements-dev.txt | .venv/bin/uv
	@$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r requirements-dev.txt
	@touch $@

.venv/benchmark: benchmarks/requirements.txt .venv/development | .venv/bin/uv
	@$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r benchmarks/requirements.txt
	@touch $@

.venv/bin/uv:
	@test -w . || { echo "This folder cannot be written to. Give it to your user, or copy it to where you may write." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit("Sealpost needs Python 3.11 or newer." if sys.version_info < (3, 11) else 0)'
	@echo "Making .venv and installing the requirements; this takes a minute, once."
	@$(PYTHON) -m venv .venv
	@sed -n '/^uv==/,/[^\\]$$/p' requirements-dev.txt > .venv/uv.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r .venv/uv.txt
	@cp utils/sealpost.pth "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
