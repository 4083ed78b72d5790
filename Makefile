# make demo    from nothing to a rendered and reported video
# make test    all tests
# make check   lint, types, layering
# make faults  kills, full disks, broken reads ...: the whole suite, with its table
# make fuzz    100,000 damaged files to everything that reads files (tests have a small round)
# make accuracy  how right the scores are (FACESET_CLIPS: a folder of real clips)
# make docs    the pages as a site, into site/
# make app     the FiftyOne App on the demo's faceset
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
OPENCV := $(shell sed -n 's/^opencv-python-headless==//p' constraints.txt)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: setup demo test browser check faults accuracy docs app clean fuzz

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[app,dev]'
	$(BIN)/python -m pip install --quiet --force-reinstall --no-deps opencv-python-headless==$(OPENCV)
	touch $@

demo: setup
	$(BIN)/faceset demo --out demo --force

test: setup browser
	$(BIN)/python -m pytest -n logical --maxprocesses 4 --dist loadfile

# The pages' tests need a Chromium; without one and without root they are skipped, with a word.
browser:
	@command -v chromium >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
	  && apt-get update -qq && apt-get install -qq --no-install-recommends chromium >/dev/null; } || true

faults: setup
	FACESET_FAULTS=$${FACESET_FAULTS:-4} $(BIN)/python -m pytest tests/faults

fuzz: setup
	$(BIN)/python tests/fuzz/run.py --inputs 100000

accuracy: setup
	$(BIN)/python -m benchmarks.accuracy $(if $(REAL),--real $(REAL))

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/test_layering.py

docs: setup
	$(BIN)/python docs/generate.py
	$(BIN)/python -m mkdocs build --strict

app: setup
	$(BIN)/faceset app demo/source demo/target

clean:
	rm -rf $(VENV) demo site .mypy_cache .ruff_cache .pytest_cache *.egg-info
