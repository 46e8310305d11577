# LabelLoop's commands. Everything they need is made first: a Python 3.11, 3.12 or 3.13 (PYTHON=... names one) is enough.
PYTHON ?= python3
# Compiled modules are kept: without them every process of the tests would compile torch and the SDK anew.
unexport PYTHONDONTWRITEBYTECODE
# Handed on to the command of `demo`, `test`, `test-fast`, `bench`, `chaos` (or to uv by `lock`): make demo ARGS="--auto --rounds 4".
ARGS ?=

# uv: environments share their files with its cache, the Python is the one above, certificates are the machine's. It
# reads no pip configuration, so it is told the registry that pip was told, unless UV_DEFAULT_INDEX names one.
export UV_LINK_MODE ?= hardlink
export UV_PYTHON_DOWNLOADS ?= never
export UV_SYSTEM_CERTS ?= true
PIP_INDEX = $$(.tools/bin/python -m pip config get global.index-url 2>/dev/null)
UV = UV_DEFAULT_INDEX="$${UV_DEFAULT_INDEX:-$${PIP_INDEX_URL:-$(PIP_INDEX)}}" .tools/bin/uv

RUN := .venv/bin/python -m
LABEL_STUDIO := .venv-label-studio/bin/label-studio
# The Label Studio of `test-versions`: the oldest that works, or one of the registry: VERSION=1.24.0.
VERSION ?= oldest
CODE := my_ml_backend tests benchmarks

.DEFAULT_GOAL := help
.PHONY: help demo demo-aws demo-gcp demo-labelbox test test-all test-slow fuzz test-docker test-versions test-fast test-upstream check bench load chaos audit sbom lock clean

help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: .venv/.ready .venv-label-studio/.ready ## Open a real Label Studio whose pictures are pre-annotated.
	$(RUN) labelloop demo --label-studio $(LABEL_STUDIO) $(ARGS)

demo-aws: .venv/.ready .venv-label-studio/.ready ## Show the loop on AWS: a stand-in of it, a real Label Studio, an execution that trains.
	PYTHONPATH=tests $(RUN) support.aws.demo --label-studio $(LABEL_STUDIO) $(ARGS)

demo-gcp: .venv/.ready .venv-label-studio/.ready ## Show the loop on Google Cloud: a stand-in of it, a real Label Studio, a job that trains.
	PYTHONPATH=tests $(RUN) support.google.demo --label-studio $(LABEL_STUDIO) $(ARGS)

demo-labelbox: .venv/.ready ## Show Labelbox's button: a stand-in of it, our web process and worker, no Label Studio.
	PYTHONPATH=tests $(RUN) support.labelbox.demo $(ARGS)

test: .venv/.ready .venv-label-studio/.ready ## Run all tests, those with a real Label Studio too.
	$(RUN) pytest -m "not slow and not docker" -n 3 --dist loadscope --no-loadscope-reorder $(ARGS)

test-all: test-slow test-docker test-versions ## Run what is too slow for `make test`: long tests, Docker, another Label Studio.

test-slow: .venv/.ready .venv-label-studio/.ready
	$(RUN) pytest -m "slow and not docker" -n 2 --dist loadscope --no-loadscope-reorder $(ARGS)

fuzz: .venv/.ready ## Send what nobody would send to a real web process: 9,000 requests of schemathesis and of tampered traffic.
	$(RUN) pytest tests/contract/web/test_fuzzing.py -n 0 -s --hypothesis-profile fuzz $(ARGS)

test-docker: .venv/.ready ## Build the images and go once round the loop with `docker compose up` on a real engine.
	$(RUN) pytest tests/docker -m docker $(ARGS)

test-versions: .venv/.ready ## Go round the loop with the oldest Label Studio that works, or VERSION=1.24.0.
	@if [ $(VERSION) = oldest ] && ! .venv/bin/python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))'; then \
		echo "Not run: the oldest Label Studio needs Python 3.11 (make PYTHON=python3.11 test-versions, or VERSION=1.16.0)"; \
	else $(MAKE) --no-print-directory .venv-label-studio-$(VERSION)/.ready && \
		LABELLOOP_TEST_LABEL_STUDIO=.venv-label-studio-$(VERSION)/bin/label-studio $(RUN) pytest -m "versions and not slow" tests/e2e $(ARGS); fi

test-fast: .venv/.ready ## Run the unit tests without training, stand-ins of clouds and Labelbox, and processes of our own, with fewer examples.
	$(RUN) pytest tests/unit -m "not train and not studio and not aws and not google and not labelbox and not process and not slow and not docker" -n 3 --dist loadfile --hypothesis-profile fast $(ARGS)

test-upstream: .venv-upstream/.ready ## Run the tests of Label Studio's server and base class against WHEEL=FILE.
	@test -f "$(WHEEL)" || { echo "Name the library: make test-upstream WHEEL=label_studio_ml-2.0.0-py3-none-any.whl" >&2; exit 1; }
	@$(UV) pip install --python .venv-upstream --no-deps --reinstall-package label-studio-ml "$(WHEEL)"
	.venv-upstream/bin/python -m pytest tests/upstream $(ARGS)

check: .venv/.ready ## Check format, code, types, imports between layers, and the Dockerfile.
	$(RUN) ruff format --check $(CODE)
	$(RUN) ruff check $(CODE)
	$(RUN) mypy
	.venv/bin/lint-imports
	.venv/bin/hadolint my_ml_backend/Dockerfile

bench: .venv/.ready .venv-label-studio/.ready ## Measure what docs/performance.md promises.
	$(RUN) benchmarks $(ARGS)

chaos: .venv/.ready .venv-label-studio/.ready ## Kill, cut off and starve a running loop at up to 100 random points, for 25 minutes, and compare the ends.
	PYTHONPATH=tests $(RUN) chaos --label-studio $(LABEL_STUDIO) $(ARGS)

load: .venv/.ready .venv-label-studio/.ready ## Measure what LabelLoop takes in under load, and what it costs an annotator: 6 minutes.
	$(RUN) benchmarks.load $(ARGS)

# What the images install; where vulnerabilities are asked for: OSV=URL names a mirror.
LOCKS := requirements-inference requirements requirements-train
OSV ?= https://api.osv.dev/v1/query

audit: .venv/.ready ## Ask OSV, over the network, whether what the images hold has known vulnerabilities.
	$(RUN) pip_audit --require-hashes --disable-pip --strict --vulnerability-service osv --osv-url $(OSV) \
		$(LOCKS:%=--requirement my_ml_backend/%.txt) $(ARGS)

sbom: build/requirements-inference.cdx.json build/requirements.cdx.json build/requirements-train.cdx.json ## Write what the images hold to build/*.cdx.json (CycloneDX).

build/%.cdx.json: my_ml_backend/%.txt .venv/.ready
	@mkdir -p $(@D)
	$(RUN) cyclonedx_py requirements $< --output-format JSON --output-reproducible --output-file $@

clean: ## Remove all that these targets made: environments, caches, builds.
	rm -rf .tools .venv .venv-label-studio .venv-label-studio-* .venv-upstream build dist my_ml_backend/*.egg-info
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +

# --- Environments: made by uv from hashed requirements, and anew when those change.

.tools/.ready: requirements-uv.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
		echo "LabelLoop needs Python 3.11, 3.12 or 3.13; $(PYTHON) is not: make PYTHON=/path/to/python3.12 ..." >&2; exit 1; }
	@echo "Installing uv in .tools"
	@$(PYTHON) -m venv --clear .tools
	@.tools/bin/python -m pip install --quiet --no-deps --require-hashes -r requirements-uv.txt
	@touch $@

# The package itself goes in last: a sync removes whatever its file does not name.
.venv-upstream/.ready: tests/upstream/requirements.txt
.venv/.ready .venv-upstream/.ready: requirements-dev.txt pyproject.toml .tools/.ready
	@echo "Installing what LabelLoop needs in $(@D): 6 GB with torch, minutes the first time"
	@$(UV) venv --quiet --allow-existing --python .tools/bin/python $(@D)
	@$(UV) pip sync --python $(@D) --require-hashes $(filter %.txt,$^)
	@$(UV) pip install --quiet --python $(@D) --no-deps --no-build-isolation --editable .
	@touch $@

# Label Studio pins versions that the project does not want: it lives apart, and is met over HTTP alone.
.venv-label-studio/.ready .venv-label-studio-oldest/.ready: .venv-%/.ready: requirements-%.txt .tools/.ready
	@echo "Installing Label Studio in $(@D)"
	@$(UV) venv --quiet --allow-existing --python .tools/bin/python $(@D)
	@$(UV) pip sync --python $(@D) --require-hashes $<
	@touch $@

.venv-label-studio-%/.ready: .tools/.ready
	@echo "Installing Label Studio $* in $(@D)"
	@$(UV) venv --quiet --allow-existing --python .tools/bin/python $(@D)
	@$(UV) pip install --quiet --no-config --python $(@D) "label-studio==$*" "setuptools<81"
	@touch $@

# --- Locks: a pin stays as it is until ARGS=--upgrade or what it is compiled from asks for another version.

COMPILE = $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
	--custom-compile-command 'make lock' $(ARGS)

lock: .tools/.ready ## Compile the hashed requirements; ARGS=--upgrade for the newest versions.
	@$(COMPILE) --extra train --extra dev --group label-studio-ml pyproject.toml -o requirements-dev.txt
	@$(COMPILE) --extra train --extra labelbox --group label-studio-ml --group lambda -c requirements-dev.txt pyproject.toml -o my_ml_backend/requirements-train.txt
	@$(COMPILE) --group label-studio-ml -c requirements-dev.txt pyproject.toml -o my_ml_backend/requirements.txt
	@$(COMPILE) --group inference --group lambda -c requirements-dev.txt -o my_ml_backend/requirements-inference.txt
	@# The overrides in pyproject.toml are not meant for these.
	@$(COMPILE) --no-config requirements-label-studio.in -o requirements-label-studio.txt
	@$(COMPILE) --no-config requirements-label-studio-oldest.in -o requirements-label-studio-oldest.txt
	@echo uv | $(COMPILE) --no-config - -o requirements-uv.txt
