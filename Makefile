# Every target but `help` and `lock` first makes .venv from requirements.lock when it is missing or
# older than the lock. Nothing is installed or registered outside .venv.
# PYTHON chooses the interpreter: make PYTHON=python3.12 test

PYTHON ?= python3
# `make lock` holds torch at the version that the figures of the study were measured with.
TORCH := 2.13.0
SHELL := bash
.DEFAULT_GOAL := help
.PHONY: help setup repro params report full paper smoke experiments verdicts test bench lab lock

# The copy of the lock is the last thing a set-up writes, so an interrupted one starts over.
READY := .venv/requirements.lock
# The project itself, for the `lmtx` command and for imports from anywhere; seconds, so apart.
INSTALLED := .venv/project.toml
# What the benchmarks compare with, the extra `bench`; one of them is built from source.
COMPARED := .venv/bench.toml

export PATH := $(CURDIR)/.venv/bin:$(PATH)
# A notebook's `python3` kernel is that of .jupyter, which runs in .venv, whatever this machine has registered;
# and JupyterLab there asks nobody about news.
export JUPYTER_PATH := $(CURDIR)/.jupyter
export JUPYTER_CONFIG_PATH := $(CURDIR)/.jupyter
export JUPYTER_PREFER_ENV_PATH := 1

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile | expand -t 20

setup: $(INSTALLED) ## make .venv, as every target below does first

# DVC needs a repository, which a downloaded archive is not, and caches nothing behind a link.
repro: $(INSTALLED) ## run the study: every stage of dvc.yaml that is not up to date
	@git rev-parse --git-dir > /dev/null 2>&1 || { \
	  echo "$(CURDIR) is no git repository, which DVC needs: run git init, then make repro again"; exit 1; }
	@for folder in data data/processed data/processed/* models models/*; do test ! -L $$folder || { \
	  echo "$$folder is a link, which DVC does not write through: move the whole project to the other disk, or bind-mount it"; \
	  exit 1; }; done
	dvc repro

params: $(INSTALLED) ## write params.yaml anew from the presets in conf/, after a change of those
	@python -c 'import yaml; from lmtx.config import compose; print(yaml.safe_dump(compose([], "conf"), sort_keys=False, allow_unicode=True), end="")' > .params.yaml
	@mv .params.yaml params.yaml

report: $(INSTALLED) ## make tables, figures and index.html from the result files there are
	dvc repro --force --single-item report

full: $(INSTALLED) ## run every point of the ablations with three seeds, half an hour to two hours, into reports/full
	python scripts/full.py $(or $(DATASET),semanlink)

paper: $(INSTALLED) ## run the paper's settings, on a GPU: make paper DATASET=eurlex-4k TEACHER=MODEL
	@test -n "$(DATASET)" -a -n "$(TEACHER)" || { \
	  echo "usage: make paper DATASET=eurlex-4k TEACHER=MODEL, a model of the server at OPENAI_BASE_URL; see docs/paper.md"; exit 1; }
	@test -n "$$OPENAI_API_KEY$$OPENAI_BASE_URL" || { \
	  echo "set OPENAI_API_KEY, or OPENAI_BASE_URL for a server of your own, which is the teacher"; exit 1; }
	dvc exp run -S size=paper -S dataset=$(DATASET) -S encoder=msmarco-distilbert \
	  -S teacher=openai -S teacher.model=$(TEACHER) -S teacher.name=$(subst :,-,$(notdir $(TEACHER))) $(if $(MAX_COST),-S teacher.max_cost=$(MAX_COST)) $(ARGS)

smoke: $(INSTALLED) ## run the same stages at tiny sizes in a scratch copy, removed afterwards
	python scripts/smoke.py

experiments: $(INSTALLED) ## list the experiments of `dvc exp run`: LMTX's figures and what was changed
	@python scripts/experiments.py

verdicts: $(INSTALLED) ## judge all recorded pairs of semanlink anew from the model, hours; resumed, says what differs
	lmtx verdicts again data/processed/semanlink/corpus verdicts/semanlink/qwen-1.5b.parquet

# A worker a core, each on one thread.
test: $(INSTALLED) ## check style, notebook hygiene, every test and every notebook
	ruff check
	ruff format --check
	OMP_NUM_THREADS=1 python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder tests

bench: $(INSTALLED) $(COMPARED) ## measure speed and memory against other tools, into reports/benchmarks.md
	python tests/benchmarks/report.py

lab: $(INSTALLED) ## open the notebooks in JupyterLab
	jupyter lab $(if $(filter 0,$(shell id -u)),--allow-root) notebooks

lock: ## pin the newest versions that pyproject.toml allows in requirements.lock
	@scratch=$$(mktemp -d) && trap 'rm -rf "$$scratch"' EXIT && set -o pipefail && \
	$(PYTHON) -m venv "$$scratch/venv" && \
	"$$scratch/venv/bin/pip" install --quiet --upgrade pip setuptools && \
	"$$scratch/venv/bin/pip" install --quiet 'torch==$(TORCH)' --editable '.[dev]' && \
	{ sed -n '/^#/p' requirements.lock && \
	  "$$scratch/venv/bin/pip" freeze --all --exclude-editable --exclude pip \
	  | sed 's/+[a-z0-9.]*$$//' | grep -Ev '^(nvidia|cuda|triton)'; } > "$$scratch/lock" && \
	cp "$$scratch/lock" requirements.lock

$(READY): requirements.lock requirements-data.lock
	@if cat $^ | cmp -s - $@; then touch $@; else \
	  $(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed, not " + sys.version.split()[0] + "; name one: make PYTHON=python3.11")' && \
	  echo "making .venv from requirements.lock; this takes a few minutes" && \
	  $(PYTHON) -m venv --clear .venv && \
	  .venv/bin/python -m pip install -qq --disable-pip-version-check --requirement $< && \
	  .venv/bin/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation \
	    --requirement requirements-data.lock && \
	  cat $^ > $@; fi

$(INSTALLED): $(READY) pyproject.toml
	@.venv/bin/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@cp pyproject.toml $@

# Without these (no network, no compiler) the benchmarks run all the same, and say what is missing.
$(COMPARED): pyproject.toml | $(INSTALLED)
	@names=$$(python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["bench"])') && \
	{ python -m pip install -qq --disable-pip-version-check --no-deps $$names && cp $< $@ || \
	  echo "$$names cannot be installed; rows that need them will be missing"; }
