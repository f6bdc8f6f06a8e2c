# The front door. Make turns every failure into exit 2: schedulers call .venv/bin/streaming-jobs, whose exit codes mean something.
.DEFAULT_GOAL := help
.NOTPARALLEL:
.SUFFIXES:
.PHONY: help setup demo bronze silver gold run watch status report plan show files quarantine verify doctor maintain sample hazards bench test test-slow test-deep chaos check lock clean

# An interpreter of your choice, 3.11 or newer; otherwise the first of the candidates that runs and has venv.
PYTHON ?=
CANDIDATES := $(or $(strip $(PYTHON)),python3.13 python3.12 python3.11 python3)
TABLE ?= gold/events_per_day
LIMIT ?= 20
EVERY ?= 5s
HISTORIES ?= 200
SEED ?= 1
ROUNDS ?= 10
BENCH ?=
LOCK_OPTS ?=
# Of the peers' packages, those that are in .venv.
SHARED := pyspark py4j pyarrow deltalake arro3-core numpy

# Not the scripts of .venv/bin: they hold the path of the checkout and break when it moves.
VENV := .venv/bin/python
JOB := $(VENV) -m streaming_jobs
# pyspark comes as source; its build uses the pinned setuptools, not whatever is newest today.
PIP := $(VENV) -m pip --disable-pip-version-check install --quiet --no-build-isolation
COMPILE := $(VENV) -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate $(LOCK_OPTS)

help:    ## list the commands
	@awk -F' *## *' '/^[a-z-]+:.*##/ { split($$1, t, ":"); printf "  make %-10s %s\n", t[1], $$2 }' $(firstword $(MAKEFILE_LIST))

setup:   ## create .venv, install, fetch and check the Delta jars once
demo:    ## write three days of sample data, run all three layers, print a Gold table
bronze:  ## new and changed CSV files -> bronze, then exit
silver:  ## bronze changes -> silver, then exit
gold:    ## silver changes -> gold, then exit
run:     ## all three in order, then exit
watch:   ## all three, kept up to date until Ctrl-C (EVERY=5s)
status:  ## what needs a hand, with the command that helps; layers, tables, files, balances
report:  ## the same as one HTML page with charts, data/report.html
plan:    ## what a run would do now; writes nothing
show:    ## print a table (TABLE=gold/events_per_day LIMIT=20)
files:   ## what became of every file
quarantine: ## refused rows, counted by rule, column and file
verify:  ## prove every layer against the one above, from nothing
doctor:  ## machine, contracts, checkpoints, tables and ledger checked against each other
maintain: ## small files joined, files that nobody needs any more removed
sample:  ## write the next day of sample data to data/raw
hazards: ## six everyday deliveries, given to a plain Spark stream and to this project
bench:   ## measured against what people would use instead; hours (BENCH="day idle --turns 3" for a part)
test:    ## run the tests that every change should pass
test-slow: ## the other half: real processes, crashes, damage, rebuilds, `watch`; half an hour
test-deep: ## hundreds of random histories (HISTORIES=200), every order of arrival, every safeguard off: an hour
chaos:   ## kill it anywhere, then compare the tables with the files (SEED=1 ROUNDS=10)
check:   ## ruff and mypy; with test and test-slow exactly what CI runs
lock:    ## write the requirements files again from pyproject.toml (LOCK_OPTS=--upgrade for newer versions)
clean:   ## remove .venv, .jars and caches; data and checkpoints stay

setup: .venv/ready
	@$(VENV) -m streaming_jobs.jars
	@$(VENV) -m streaming_jobs.operations.archive_classes

demo: .venv/ready
	@$(JOB) sample
	@$(JOB) sample
	@$(JOB) sample
	@$(JOB) run
	@$(JOB) show gold/events_per_day

bronze silver gold run status report plan files verify doctor maintain sample: .venv/ready
	@$(JOB) $@

watch: .venv/ready
	@exec $(JOB) watch --every $(EVERY)

quarantine: .venv/ready
	@$(JOB) quarantine list

show: .venv/ready
	@$(JOB) show $(TABLE) --limit $(LIMIT)

hazards: .venv/ready-dev
	@$(VENV) -m benchmarks.hazards

bench: .venv/ready-dev .bench/ready
	@$(VENV) -m benchmarks $(BENCH)

test: .venv/ready-dev
	@$(VENV) -m pytest

test-slow: .venv/ready-dev
	@$(VENV) -m pytest -m "slow and not deep"

test-deep: .venv/ready-dev
	@HISTORIES=$(HISTORIES) $(VENV) -m pytest -m deep
	@$(VENV) -m tests.mutations

chaos: .venv/ready-dev
	@$(VENV) -m tests.chaos --seed $(SEED) --rounds $(ROUNDS)

check: .venv/ready-dev
	@$(VENV) -m ruff check .
	@$(VENV) -m ruff format --check .
	@$(VENV) -m mypy

lock: .venv/ready-dev
	@$(COMPILE) --group build -o requirements-build.txt
	@$(COMPILE) pyproject.toml -o requirements.txt
	@$(COMPILE) pyproject.toml --group dev --constraint requirements.txt -o requirements-dev.txt
	@$(COMPILE) --group bench --constraint requirements-dev.txt $(SHARED:%=--no-emit-package %) -o requirements-bench.txt

clean:
	@rm -rf .venv .bench .jars build streaming_jobs.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find streaming_jobs tests -name __pycache__ -type d -prune -exec rm -rf {} +

# Java and Python are looked at before anything long begins. An environment whose pip does not run is made anew.
.venv/ready: pyproject.toml requirements-build.txt requirements.txt streaming_jobs/jars.lock
	@python=$(VENV); \
	if ! $$python -m pip --version >/dev/null 2>&1; then \
	  python=; \
	  for candidate in $(CANDIDATES); do \
	    if "$$candidate" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; \
	    then python=$$candidate; break; fi; \
	  done; \
	fi; \
	if [ -z "$$python" ]; then \
	  echo "no Python 3.11 or newer with venv among: $(CANDIDATES); nothing was installed." \
	    "Install it: Debian and Ubuntu \`apt-get install python3 python3-venv\`; macOS \`brew install python@3.13\`;" \
	    "or name one: \`make setup PYTHON=python3\`." >&2; \
	  exit 2; \
	fi; \
	"$$python" -m streaming_jobs.jars --java || exit; \
	if [ "$$python" != $(VENV) ]; then echo "set-up: .venv with $$("$$python" --version)"; "$$python" -m venv --clear .venv; fi
	@echo "set-up: Python packages (the first time about 500 MB)"
	@$(PIP) --require-hashes -r requirements-build.txt
	@$(PIP) --require-hashes -r requirements.txt
	@$(PIP) --no-deps --config-settings editable_mode=compat --editable .
	@echo "set-up: Delta jars"
	@$(VENV) -m streaming_jobs.jars
	@echo "set-up: two small runs, so that Spark starts in half the time from now on (a minute, 200 MB)"
	@$(VENV) -m streaming_jobs.operations.archive_classes
	@touch $@

.venv/ready-dev: .venv/ready requirements-dev.txt
	@echo "set-up: tools for tests and checks"
	@$(PIP) --require-hashes -r requirements-dev.txt
	@touch $@

# Beside the environment, not in it: pandas alone, once it can be imported, makes every start of pyspark slower.
.bench/ready: .venv/ready-dev requirements-bench.txt
	@echo "set-up: the peers of the benchmark"
	@rm -rf .bench
	@$(PIP) --no-deps --require-hashes --target .bench -r requirements-bench.txt
	@touch $@
