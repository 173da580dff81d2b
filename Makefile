# Everything a fresh machine needs beside Python 3.11 and git is brought by `setup`.
SHELL := /bin/bash
PYTHON ?= python3
UV := .uv/bin/uv
export UV_COMPILE_BYTECODE := 1
export UV_PYTHON := $(shell command -v $(PYTHON))
export UV_PYTHON_DOWNLOADS := never

.PHONY: setup demo serve test interop lint bench clean

setup: .venv/.synced

$(UV):
	$(PYTHON) -m venv .uv
	.uv/bin/pip --quiet --disable-pip-version-check install uv==0.13.9

.venv/.synced: $(UV) uv.lock pyproject.toml $(wildcard */pyproject.toml)
	$(UV) sync --frozen
	@touch $@

demo: setup
	.venv/bin/python -m examples.demo demo-output

serve: setup
	.venv/bin/python -m examples.serve serve-output

test: setup
	.venv/bin/pytest -n auto --dist worksteal -q

# Programs of others against our log and witness; which, and where they come from: tests/interop/outside/README.md.
interop: setup
	CHOPMARK_INTEROP=1 .venv/bin/pytest -q tests/interop

lint: setup
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

bench: setup bench/peers/.venv/.synced
	.venv/bin/python -m bench

bench/peers/.venv/.synced: $(UV) bench/peers/uv.lock bench/peers/pyproject.toml
	$(UV) sync --frozen --project bench/peers
	@touch $@

clean:
	rm -rf .venv .uv bench/peers/.venv demo-output serve-output dist
