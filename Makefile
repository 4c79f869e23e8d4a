# `make report` and `make test` are all one needs: each makes .venv by itself when it is missing, and
# installs again only when the requirements have changed.
PYTHON ?= python3
PROFILE ?= demo
NAME ?= $(PROFILE)

.PHONY: report test lint bench
report: .venv/.installed
	.venv/bin/python -m footpass report --profile $(PROFILE) --name $(NAME)

test: .venv/.installed
	.venv/bin/python -m pytest --nbmake

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
