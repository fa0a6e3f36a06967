# `make demo` and `make test` do all of their own set-up on a fresh Debian 12 with Python 3.11, as root.
SHELL := /bin/bash
VENV := .venv
PYTHON ?= /usr/bin/python3
FIRMWARE ?= uefi

SECONDS_EACH := $(or $(SECONDS),60)

.PHONY: demo test lint fuzz bench bench-farm bench-net setup lock clean

demo: setup
	$(VENV)/bin/distserver demo --firmware $(FIRMWARE)

# Two processes: one installs machines while the other does the rest.
test: setup lint
	$(VENV)/bin/pytest --numprocesses 2 --dist loadfile

lint: setup
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

# One JSON object a line on standard output, progress on standard error.
bench: setup
	@$(VENV)/bin/python -m tests.bench

# CASES="bound distcc" for some of them.
bench-farm: setup
	@$(VENV)/bin/python -m tests.benches $(CASES)

# CASES="tftp storm/50" for some of them.
bench-net: setup
	@$(VENV)/bin/python -m tests.benches_net $(CASES)

# SECONDS=600 for each of the targets, TARGETS="dhcp dns" for some of them.
fuzz: setup
	@$(VENV)/bin/python -m tests.fuzz --seconds $(SECONDS_EACH) $(TARGETS)

setup: $(VENV)/ready

$(VENV)/ready: packages.apt requirements.lock pyproject.toml setup.sh
	./setup.sh $(PYTHON) $(VENV)

lock:
	$(VENV)/bin/pip-compile --quiet --extra dev --generate-hashes --strip-extras --allow-unsafe --no-emit-find-links --no-emit-index-url --no-emit-trusted-host --output-file requirements.lock pyproject.toml

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
