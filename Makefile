# The two commands of the README: `make demo` and `make test`. Everything lives in .venv, but for test-oldest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
OLDEST := .venv-oldest
# Two processes of one thread each: on two cores they are faster than one of two threads.
PYTEST := -m pytest -n 2 --dist worksteal

.PHONY: demo test test-quick test-oldest lint format docs install clean

install: $(STAMP)

$(STAMP): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; try make PYTHON=python3.11") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $(STAMP)

demo: install
	$(BIN)/fewdistill demo

test: install lint
	OMP_NUM_THREADS=1 $(BIN)/python $(PYTEST)

# Without the tests that train, kill, start clusters or open a browser: minutes.
test-quick: install
	OMP_NUM_THREADS=1 $(BIN)/python $(PYTEST) -m "not slow"

# With the oldest release of every dependency that pyproject.toml allows; ARGS='-m "not slow"' for the quick ones.
test-oldest: $(OLDEST)/.installed
	OMP_NUM_THREADS=1 $(OLDEST)/bin/python $(PYTEST) -W ignore $(ARGS)

$(OLDEST)/.installed: pyproject.toml
	$(PYTHON) -m venv --clear $(OLDEST)
	$(OLDEST)/bin/python -m pip install --quiet uv
	$(OLDEST)/bin/uv pip install --quiet --python $(OLDEST)/bin/python --resolution lowest-direct --editable '.[dev]'
	touch $@

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Tables and figures of README.md and docs/, from results/reference.
docs: install
	$(BIN)/python -m tools.docs

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) $(OLDEST) runs data report
