# make demo    install into .venv and run the demo
# make test    install into .venv and run the tests (make test-all: the slow ones too)
# make coverage   which lines and branches of statistics, tables and features the quick tests enter; fails below 95 % in a room
# make bench   install into .venv and measure the speed beside bare forward passes and other tools
# make bench-metrics   seconds, peak memory and error of the metrics beside what a user would take instead
# make bench-scale   rates measured here, and what they mean for millions of images
# make bench-training   images a second of a training from files, beside the same steps on a resident batch
# make lint    style and types
# Uses uv where it is installed, otherwise venv and pip.

VENV := .venv
BIN := $(VENV)/bin
OUT ?= runs/demo
UV := $(shell command -v uv 2>/dev/null)
PYTHON ?= $(shell for each in python3.13 python3.12 python3.11 python3.14 python3; do \
  command -v $$each >/dev/null 2>&1 && $$each -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$each && break; done)

.PHONY: demo test test-all coverage bench bench-metrics bench-scale bench-training lint format clean
.DELETE_ON_ERROR:

demo: $(VENV)/.installed-demo
	$(BIN)/featurespace demo --out $(OUT)

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow and not gpu and not network"

test-all: $(VENV)/.installed-test
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not gpu and not network"

coverage: $(VENV)/.installed-dev
	$(BIN)/python -m coverage run -m pytest -m "not slow and not gpu and not network" \
	  $(addprefix tests/,metrics stats tables features test_analyze.py test_passing.py)
	for room in metrics stats tables features; do \
	  $(BIN)/python -m coverage report -m --skip-covered --fail-under=95 --include="featurespace/$$room/*" || exit 1; done

bench: $(VENV)/.installed-bench
	$(BIN)/python tests/benchmarks/speed.py $(PARTS)

bench-metrics: $(VENV)/.installed-bench
	$(BIN)/python tests/benchmarks/metrics.py $(PARTS)

bench-scale: $(VENV)/.installed-bench
	$(BIN)/python tests/benchmarks/scale.py

bench-training: $(VENV)/.installed-bench
	$(BIN)/python tests/benchmarks/training.py

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/mypy

$(VENV)/.installed-%: pyproject.toml | $(BIN)/python
ifdef UV
	uv pip install --python $(BIN)/python --compile-bytecode -e ".[$*]"
else
	$(BIN)/python -m pip install --disable-pip-version-check -e ".[$*]"
	$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib || true
endif
	$(BIN)/python -m compileall -q featurespace
	touch $@

$(BIN)/python:
ifdef UV
	uv venv --python '>=3.11' $(VENV)
else
	@test -n "$(PYTHON)" || { echo "error: Python 3.11 or newer is needed (found: $$(python3 --version 2>&1)); install it, or uv"; exit 2; }
	$(PYTHON) -m venv $(VENV) || { echo "error: $(PYTHON) cannot make a virtual environment; on Debian and Ubuntu: apt install python3-venv"; rm -rf $(VENV); exit 2; }
endif

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache
