# Both commands set up all they need; only Python 3.10+ and make must be there.
PYTHON ?= python3
BIN := .venv/bin
JOBS ?= 2

.PHONY: demo test test-fast lint browser bench clean

demo: .venv/.ready
	$(BIN)/python examples/demo.py demo

test: .venv/.ready-test .venv-mxnet/.ready lint browser
	$(BIN)/pytest -n $(JOBS) --dist worksteal

# What takes longest is left out: processes that import torch, servers, clusters, browsers, real mxnet.
test-fast: .venv/.ready-test
	$(BIN)/ruff check .
	$(BIN)/pytest -n $(JOBS) --dist worksteal -m "not slow"

lint: .venv/.ready-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The page of wds-face report is opened in one, if it is there or can be had; if not, that test is skipped.
browser:
	@for name in chromium chromium-browser google-chrome; do \
	  if command -v $$name >/dev/null 2>&1; then exit 0; fi; \
	done; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
	  echo "installing chromium, for the tests of reports"; \
	  { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends chromium; } \
	    >/dev/null 2>&1 || echo "chromium cannot be installed here: its tests are skipped"; \
	fi

bench: .venv/.ready-bench .venv-mxnet/.ready
	$(BIN)/python benchmarks/convert.py
	$(BIN)/python benchmarks/recordio.py
	$(BIN)/python benchmarks/transforms.py
	$(BIN)/python benchmarks/reading.py
	$(BIN)/python benchmarks/scale.py
	$(BIN)/python benchmarks/shuffle.py
	$(BIN)/python benchmarks/network.py
	$(BIN)/python benchmarks/verification.py
	$(BIN)/python benchmarks/throughput.py

clean:
	rm -rf .venv .venv-mxnet demo build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 10) or sys.exit("wds-face needs Python 3.10 or newer: make PYTHON=...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet uv

# torch and torchvision come as they are on PyPI, so the first time takes some minutes. pip itself takes very long to find
# versions of all the tests' packages that go together; uv does it in seconds. Compiled once, for the many processes of the
# tests: where nobody may write bytecode, each would compile torch anew.
.venv/.ready: .venv/bin/python pyproject.toml
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --editable .
	touch $@

.venv/.ready-test: .venv/bin/python pyproject.toml
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --editable '.[test]'
	touch $@ .venv/.ready

.venv/.ready-bench: .venv/bin/python pyproject.toml
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --editable '.[bench,test]'
	touch $@ .venv/.ready

# real mxnet cannot be imported beside a current numpy, so it has an environment of its own
.venv-mxnet/.ready: tests/oracle/environment.py
	$(PYTHON) tests/oracle/environment.py .venv-mxnet
