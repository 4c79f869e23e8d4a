# `make report` and `make test` are all one needs: each makes .venv by itself when it is missing, and
# installs again only when the requirements have changed.
PYTHON ?= python3
PROFILE ?= demo
NAME ?= $(PROFILE)
# A worker a core, each with whole files of tests, so that what a file's tests share is made once; more
# threads than that would wait for each other.
PYTEST = OMP_NUM_THREADS=1 .venv/bin/python -m pytest --nbmake -n auto --maxprocesses 4 --dist loadfile

.PHONY: report test test-slow test-all test-floor lint bench
report: .venv/.installed
	.venv/bin/python -m footpass report --profile $(PROFILE) --name $(NAME)

test: .venv/.installed
	$(PYTEST) -m "not slow"

test-slow: .venv/.installed
	$(PYTEST) -m slow

test-all: .venv/.installed
	$(PYTEST)

# The lowest versions of all that is required, on what touches most of them.
FLOOR = tests/test_*.py tests/data tests/models tests/plots tests/postprocess tests/report
test-floor: .venv-floor/.installed
	OMP_NUM_THREADS=1 .venv-floor/bin/python -m pytest -n auto --maxprocesses 4 --dist loadfile -m "not slow" $(FLOOR)

lint: .venv/.installed
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

bench: .venv/.installed
	.venv/bin/python -m benchmarks

.venv/.installed: requirements.txt pyproject.toml
	test -d .venv || $(PYTHON) -m venv .venv
	.venv/bin/python -m pip install -r requirements.txt
	touch $@

.venv-floor/.installed: tests/floor.txt pyproject.toml
	test -d .venv-floor || $(PYTHON) -m venv .venv-floor
	.venv-floor/bin/python -m pip install -e .[notebooks,dev] -c tests/floor.txt
	touch $@
