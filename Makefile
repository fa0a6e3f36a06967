# `make demo` and `make test` do all of their own set-up on a fresh Debian 12 with Python 3.11, as root.
SHELL := /bin/bash
VENV := .venv
PYTHON ?= /usr/bin/python3
FIRMWARE ?= uefi

SECONDS_EACH := $(or $(SECONDS),60)

.PHONY: demo five test lint fuzz bench bench-farm bench-net bench-iso bench-merge bench-web bench-clients screenshots
.PHONY: kernels layouts setup lock clean ultra10 foreign power-cuts floors

demo: setup
	$(VENV)/bin/distserver demo --firmware $(FIRMWARE)

# Two processes: one installs machines while the other does the rest.
test: setup lint
	$(VENV)/bin/pytest --numprocesses 2 --dist loadfile

lint: setup
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

# The five machines of docs/five.md, two at a time; MACHINES="hp-client" for some of them.
five: setup
	$(VENV)/bin/python -m tests.five $(MACHINES)

# One JSON object a line on standard output, progress on standard error.
bench: setup
	@$(VENV)/bin/python -m tests.bench

# CASES="bound distcc" for some of them.
bench-farm: setup
	@$(VENV)/bin/python -m tests.benches $(CASES)

# CASES="tftp storm/50" for some of them.
bench-net: setup
	@$(VENV)/bin/python -m tests.benches_net $(CASES)

# CASES="build/500MB" for some of them; SCRATCH=/srv/tmp when the temporary directory has less than 5 GB.
bench-iso: setup
	@$(VENV)/bin/python -m tests.benches_iso $(if $(SCRATCH),--scratch $(SCRATCH)) $(CASES)

# CASES="wrong" for some of automatic, asked and wrong.
bench-merge: setup
	@PYTHONPATH=overlays/client/usr/lib/distserver $(VENV)/bin/python -m tests.benches_merge $(CASES)

# CASES="overview releases" for some of them.
bench-web: setup
	@$(VENV)/bin/python -m tests.benches_web $(CASES)

# AGENTS=50 for fewer of them; CASES="wire" or CASES="fleet" for one part.
bench-clients: setup
	@PYTHONPATH=.:overlays/client/usr/lib/distserver $(VENV)/bin/python -m tests.benches_clients $(AGENTS) $(if $(CASES),--cases $(CASES))

# The Sun Ultra 10 of docs/five.md: its release is cross-compiled, installed from the ok prompt and started from its disk.
ultra10: setup
	$(VENV)/bin/python -m tests.five ultra10

# Kernels on trial in virtual machines: GRUB on a BIOS, systemd-boot on UEFI.
kernels: setup
	$(VENV)/bin/pytest tests/integration/test_kernel_trials.py tests/kernels/systemd_boot.py

# An arm64 root that QEMU runs, with a native cross compiler on a compile host: minutes, most of them emulated.
foreign: setup
	$(VENV)/bin/pytest tests/foreign/emulated.py

# Every disk layout of docs/disks.md, installed in a virtual machine that then starts from its disks.
# CASES="raid1-lvm" for some of them.
layouts: setup
	@PYTHONPATH=.:overlays/client/usr/lib/distserver $(VENV)/bin/python -m tests.layouts $(CASES)

# An update of a virtual machine is cut off CUTS times; SEED=7 for the same cuts again. Fifty take about half an hour, when the host does nothing else.
power-cuts: setup
	@PYTHONPATH=.:overlays/client/usr/lib/distserver $(VENV)/bin/python -m tests.power_cuts $(or $(CUTS),50) $(SEED)

# The pictures of docs/web.md, from what the test cache's farm has built.
screenshots: setup
	@$(VENV)/bin/python -m tests.screens

# SECONDS=600 for each of the targets, TARGETS="dhcp dns" for some of them.
fuzz: setup
	@$(VENV)/bin/python -m tests.fuzz --seconds $(SECONDS_EACH) $(TARGETS)

# The rows of docs/small-memory.md, from the releases in the test cache.
floors: setup
	@$(VENV)/bin/python -m tests.floors

setup: $(VENV)/ready

$(VENV)/ready: packages.apt requirements.lock pyproject.toml setup.sh
	./setup.sh $(PYTHON) $(VENV)

lock:
	$(VENV)/bin/pip-compile --quiet --extra dev --generate-hashes --strip-extras --allow-unsafe --no-emit-find-links --no-emit-index-url --no-emit-trusted-host --output-file requirements.lock pyproject.toml

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
