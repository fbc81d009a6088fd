# make demo: set up and run the main job on an embedded image; make test: set up and test. Nothing else is needed.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
export OMP_NUM_THREADS ?= 1

.PHONY: venv demo test lint docs bench browser clean

venv: $(READY)

# torch by itself first: its index decides between processor and CUDA builds, our constraints must not.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $$(grep '^torch==' constraints.txt)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[test]"
	touch $(READY)

demo: venv
	$(BIN)/counterpoint demo -o counterpoint-demo

test: venv browser
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/python -m pytest -q -n auto --dist loadfile

lint: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

docs: venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[docs]"
	$(BIN)/python -m sphinx -q -W -b html docs docs/_build

bench: venv
	$(BIN)/python benchmarks/speed.py
	$(BIN)/python benchmarks/loss.py --sizes 256 1024 4096 --runs 3
	$(BIN)/python benchmarks/knn.py
	$(BIN)/python benchmarks/pipeline.py --steps 4 --turns 1

# Pages are tested in a real browser. In a container (root, Debian) it is installed; elsewhere those tests are
# skipped, and say so.
browser:
	@command -v chromium chromium-browser google-chrome >/dev/null || { \
	  [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
	  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null; }; } || \
	  echo "no Chromium here: the tests of pages in a browser will be skipped"

clean:
	rm -rf $(VENV) docs/_build .pytest_cache .ruff_cache .import_linter_cache
