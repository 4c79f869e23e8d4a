# The first two are all one needs: each makes .venv by itself when it is missing.
PYTHON ?= python3

.venv/.installed: requirements.txt pyproject.toml
	test -d .venv || $(PYTHON) -m venv .venv
	.venv/bin/python -m pip install -r requirements.txt
	touch $@
