# Two commands for a fresh machine: `make demo` and `make test`. Both install what they need into .venv.
PYTHON ?= python3
RUN := .venv/bin/python

.PHONY: help demo up break down test lint docs bench chaos lock
help:  ## show this
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

demo: .venv/ready  ## break a real ML system, let it heal, print what happened
	$(RUN) -m demo run

up: .venv/ready  ## keep the demo's system running: Prefect UI, MLflow UI, intake
	$(RUN) -m demo up

break: .venv/ready  ## break what `make up` keeps running, and watch it heal
	$(RUN) -m demo break

down:  ## end what `make up` started
	@test ! -x $(RUN) || $(RUN) -m demo down

test: .venv/ready lint  ## lint, types, layers, tests
	$(RUN) -m pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: .venv/ready  ## ruff, mypy --strict, import-linter
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

docs: .venv/ready  ## write the tables of the README from the code
	$(RUN) -m docs.generate

bench: .venv/ready  ## measure what docs/benchmarks.md claims, both sides in one go
	$(RUN) -m benchmarks

chaos: .venv/ready  ## kill everything at any instant, and count what was lost: TRIALS=1000
	$(RUN) -m tests.chaos

lock: .venv/ready  ## resolve pyproject.toml anew into requirements.lock
	.venv/bin/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	    --no-annotate --no-header --upgrade --group dev pyproject.toml -o requirements.lock

# uv stands in the lock like everything else; pip installs it from there, and it installs the rest.
.venv/ready: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "lastgood needs Python 3.11 or later")'
	$(PYTHON) -m venv .venv
	awk '/^[^ ]/ {on = /^uv==/} on' requirements.lock > .venv/uv.lock
	$(RUN) -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r .venv/uv.lock
	.venv/bin/uv pip sync --python $(RUN) --compile-bytecode --require-hashes requirements.lock
	.venv/bin/uv pip install --quiet --python $(RUN) --no-deps --no-build-isolation --editable .
	$(RUN) -m compileall -q flows remediations expectations incidents demo
	touch $@
