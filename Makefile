# The two commands: `make demo` and `make test`, each from a bare python3 and make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test lint types python-tests install install-dev clean

demo: install
	$(BIN)/mobilekit deploy nin --device nexus7

test: lint types python-tests

lint: install-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install-dev
	$(BIN)/mypy

python-tests: install-dev
	$(BIN)/python -m pytest

install: $(VENV)/installed
install-dev: $(VENV)/installed-dev

$(VENV)/installed: pyproject.toml
	@echo "Installing into $(VENV): about 2.5 GB to download, most of it PyTorch. A few minutes."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable .
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV)
