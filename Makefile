# make demo, make test: all that a fresh machine with Python 3.11 or newer needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test docs clean

demo: $(VENV)/demo.stamp
	$(BIN)/python benchmarks/demo.py --out demo

test: $(VENV)/test.stamp
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest

# the site, in build/site; broken links are errors
docs: $(VENV)/docs.stamp
	$(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) demo

# installed again only when what has to be installed changes
$(VENV)/demo.stamp: EXTRA := plot
$(VENV)/test.stamp: EXTRA := test
$(VENV)/docs.stamp: EXTRA := docs
$(VENV)/demo.stamp $(VENV)/test.stamp $(VENV)/docs.stamp: $(VENV)/python.stamp pyproject.toml constraints.txt
	$(PIP) --editable '.[$(EXTRA)]'
	touch $@

$(VENV)/python.stamp:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo 'restframe needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 ...'; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	touch $@
