# Everything a person does with this checkout. Needs Python >= 3.11 with venv, and make; nothing else.
PYTHON ?= python3
BIN := .venv/bin
# What `make` starts ends with it, even if make is killed.
RUN := exec $(BIN)/python tools/tether.py
CODE := $(wildcard libs services tools tests benchmarks)
# Tests and checks start many Pythons: each would compile everything anew.
unexport PYTHONDONTWRITEBYTECODE
# How tests are dealt out to workers: tests/support/spread.py. Those of running services wait half of their time, so more of them run than there are processors.
SPREAD := --dist loadscope --no-loadscope-reorder -n
FAST := $(wildcard tests/unit tests/contract tests/architecture)

.DEFAULT_GOAL := help
.PHONY: help setup run up down test check format lint types contracts unit docs screenshots conformance providers chaos nightly mutants bench

help: ## list all of this
	@awk -F ':.*## ' '/^[a-z%-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' Makefile
	@echo
	@echo 'make run EXIT=1 REPORT=report.json   the demo without a person: exit 0 only if every promise held'
	@echo 'make test K=expr                     only the tests whose names match'
	@echo 'PYTHON=python3.12 make ...           another Python than python3'

setup: ## make .venv what requirements.lock says (every target does it by itself)
	@$(PYTHON) tools/setup.py

run: setup ## the main job on one bare machine: everything started, real history replayed, alerts shown
	@$(RUN) $(BIN)/churnsignal-devstack demo $(if $(DAYS),--days $(DAYS)) $(if $(EXIT),--exit) $(if $(REPORT),--report $(REPORT))

up: setup ## the stack without the demo, real clock, in the background; prints where things listen
	@$(BIN)/churnsignal-devstack up --detach

down: setup ## end what `make up` started
	@$(BIN)/churnsignal-devstack down

test: setup ## every test; K=expr narrows it
	@$(RUN) $(BIN)/python -m pytest $(SPREAD) 3 $(if $(K),-k "$(K)")

check: setup ## format, lint, types, room contracts, unit tests: under a minute
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target unit format lint types contracts

format: setup
	@$(BIN)/ruff format --check --quiet $(CODE)

lint: setup
	@$(BIN)/ruff check --quiet $(CODE)

types: setup
	@$(BIN)/mypy --no-error-summary $(CODE)

contracts: setup
	@$(BIN)/lint-imports --no-logo

unit: setup
	@$(RUN) env ALERTS_STEPS=$(or $(ALERTS_STEPS),4000) $(BIN)/python -m pytest -q $(SPREAD) 2 $(FAST)

docs: setup ## write the documents that come from the code: contracts, OpenAPI, settings, reasons
	@$(BIN)/python tools/docs.py

screenshots: setup ## what readers see of an alert, into docs/screenshots/ (needs Chromium)
	@$(BIN)/python tools/screenshots.py

conformance: setup ## the released SDKs on good days and bad ones; writes docs/conformance.md
	@$(RUN) $(BIN)/python -m tests.conformance

chaos: setup ## two replicas of scoring killed, frozen and failed over, then proved; two of alerts killed as they send; KILLS=1000 is the full proof
	@$(RUN) env CHURNSIGNAL_KILLS=$(or $(KILLS),24) $(BIN)/python -m pytest -s tests/e2e/test_scoring_survives_chaos.py tests/e2e/test_senders_survive_kills.py

nightly: setup ## the full sizes: a million steps of alerts' model, then chaos with 1,000 kills of each; SEED=5 for other ones; prints the seeds
	@$(RUN) env ALERTS_SEED=$(or $(SEED),1) ALERTS_SEEDS=10 ALERTS_STEPS=120000 $(BIN)/python -m pytest -rP -n 2 tests/unit/alerts/test_the_life_of_alerts.py
	@$(if $(SEED),CHURNSIGNAL_SEED=$(SEED)) $(MAKE) --no-print-directory chaos KILLS=1000

mutants: setup ## change the scoring core in small ways and see which changes no test notices; SAMPLE=800 tries so many, drawn at random; writes docs/mutants.md
	@$(RUN) $(BIN)/python tools/mutants.py $(if $(SAMPLE),--sample $(SAMPLE))

providers: setup ## Slack and the mail relay on every bad day; writes docs/providers.md
	@$(RUN) $(BIN)/python -m tests.support.bad_days

bench: setup ## all benchmarks: a table, and a JSON file each under benchmarks/results/
	@$(RUN) $(BIN)/python -m benchmarks

bench-%: setup ## one of them, such as bench-ingest or bench-scoring
	@$(RUN) $(BIN)/python -m benchmarks $*
