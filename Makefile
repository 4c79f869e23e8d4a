# `make report` and `make test` are all one needs: each makes .venv by itself when it is missing, and
# installs again only when the requirements have changed.
PYTHON ?= python3
PROFILE ?= demo
NAME ?= $(PROFILE)
# A worker a core, each with whole files of tests, so that what a file's tests share is made once; more
# threads than that would wait for each other.
PYTEST = OMP_NUM_THREADS=1 .venv/bin/python -m pytest --nbmake -n auto --maxprocesses 4 --dist loadfile

.PHONY: report test test-slow test-all lint bench
report: .venv/.installed
	.venv/bin/python -m footpass report --profile $(PROFILE) --name $(NAME)

test: .venv/.installed
	$(PYTEST) -m "not slow"

test-slow: .venv/.installed
	$(PYTEST) -m slow

test-all: .venv/.installed
	$(PYTEST)

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
