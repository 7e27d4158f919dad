# The two commands: `make demo` from a bare python3 and make, `make test` with a JDK 17 and Maven as well.
# `make wheel` makes what one installs who has neither.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# What the tests have passed with: a release of today does not come in unseen.
INSTALL := $(BIN)/pip install --quiet --constraint constraints.txt

# Processes that share the tests. Two more than two processors: many tests wait for a phone.
WORKERS ?= 4

# npm brings two of the app's native runtimes; without it the app is built without them.
ifeq ($(shell command -v npm),)
APP_FLAGS := MVN_FLAGS="-Dwithout-executorch -Dwithout-onnxruntime"
endif

.PHONY: demo test soak app native wheel lint types python-tests install install-dev

demo: install
	$(BIN)/mobilekit deploy nin --device nexus7

# The app comes before the Python tests, some of which run its core, and is built while the
# environment is installed, which takes about as long. The tests begin with a minute of imports in
# one process, which the types share. Without a C compiler the app's native libraries do not run
# here: that is said, and the tests that need them are skipped.
test:
	$(MAKE) --jobs=2 --output-sync=target lint app
	-$(MAKE) -C android-app/native
	$(MAKE) --jobs=2 types python-tests

app:
	$(MAKE) -C android-app apk $(APP_FLAGS)

# The app's core, engines and native libraries, for this computer.
native:
	$(MAKE) -C android-app native $(APP_FLAGS)

# All that a user needs but a phone: dist/mobilekit-*.whl, with the app inside.
wheel: install-dev
	@command -v npm >/dev/null || { echo "make wheel needs npm: without it the app has one engine of three."; exit 1; }
	$(MAKE) app
	$(BIN)/python -m hatchling build --target wheel --directory dist
	@ls -l dist

lint: install-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install-dev
	$(BIN)/mypy

python-tests: install-dev
	$(BIN)/python -m pytest --numprocesses=$(WORKERS) --dist=worksteal --durations=20

# Before a release: what takes long, 50 random moments of each fault in place of 4, networks of others
# through every command, coverage over every gauge, and a lab whose hosts and database are killed.
soak: install-dev
	$(BIN)/python -m pytest --timeout=3600 -m soak
	MOBILEKIT_FUZZ=100000 $(BIN)/python -m pytest --timeout=3600 tests/test_fuzz.py
	$(MAKE) -C android-app fuzz
	MOBILEKIT_MOMENTS=50 $(BIN)/python -m pytest --timeout=3600 tests/cli/test_cli_moments.py
	$(BIN)/python scripts/energy_coverage.py
	$(BIN)/python scripts/campaign_bench.py

install: $(VENV)/installed
install-dev: $(VENV)/installed-dev

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing into $(VENV): about 2.5 GB to download, most of it PyTorch. A few minutes."
	$(INSTALL) --editable .
	touch $@

# All that the main job needs, and what the tests need: resolved and installed once.
$(VENV)/installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing into $(VENV): about 2.6 GB to download, most of it PyTorch. A few minutes."
	$(INSTALL) --editable '.[dev]'
	touch $(VENV)/installed $@
