# make dev: install and serve the samples. make test: install what the tests need and run them. Both need only Python 3.11 or newer.
PYTHON ?= $(firstword $(shell for python in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python; done))
PIP = .venv/bin/python -m pip install --quiet --disable-pip-version-check

.PHONY: dev test chromium lint bench clean

dev: .venv/installed
	.venv/bin/microlam dev sample_functions

# Most of their time the tests wait for processes: two files at once take little more than half of it.
test: .venv/installed-test chromium
	.venv/bin/python -m pytest -n 2 --dist loadfile

# The browser tests drive a Chromium or Chrome: one that is here, else the one that apt-get brings.
SUDO = $(shell [ "$$(id -u)" = 0 ] || command -v sudo)
chromium: .venv/installed-test
	@.venv/bin/python -m tests.browser.chromium >/dev/null || { \
		{ command -v apt-get >/dev/null && { [ "$$(id -u)" = 0 ] || [ -n "$(SUDO)" ]; }; } || \
			{ echo "The browser tests need a Chromium or Chrome. Install one, or name it: make test CHROMIUM=/path/to/chrome" >&2; exit 1; }; \
		echo "Installing Chromium for the browser tests (once)"; \
		$(SUDO) apt-get update -qq && $(SUDO) apt-get install -y -qq --no-install-recommends chromium; }

lint: .venv/installed-lint
	.venv/bin/ruff check .
	.venv/bin/mypy

bench: .venv/installed-bench
	.venv/bin/python -m benchmarks

clean:
	rm -rf .venv build dist

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "microlam needs Python 3.11 or newer; none was found. Install one, or name it: make PYTHON=/path/to/python" >&2; exit 1; }
	$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python pyproject.toml
	@echo "Installing microlam into .venv (once, about half a minute)"
	$(PIP) --editable .
	@touch $@

.venv/installed-%: .venv/bin/python pyproject.toml
	@echo "Installing what make $* needs into .venv (once)"
	$(PIP) --editable '.[$*]'
	@touch $@
