# Every target makes .venv and installs what it needs itself, once, and again when
# pyproject.toml or the lock changes. PYTHON=… names the Python to use.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

BIN := .venv/bin
PYTEST_ARGS ?=
export PYTHON

DEMO := .venv/.installed-demo
DEV := .venv/.installed-dev
BUILD := .venv/.installed-build
PROTO := .venv-proto/.installed-proto
LOCK := .venv-lock/.installed-lock
AUDIT := .venv-audit/.installed-audit

# Whoever has everything has what the demo and a build need, too.
READY_DEMO := $(or $(wildcard $(DEV)),$(DEMO))
READY_BUILD := $(or $(wildcard $(DEV)),$(BUILD))

$(DEMO) $(DEV) $(BUILD): .venv/.installed-%: pyproject.toml
	@.ci/venv.sh $*

$(DEV): .ci/dev.lock

$(BUILD) $(LOCK) $(AUDIT): .ci/tools.lock

$(PROTO): .ci/proto.py
	@VENV=.venv-proto .ci/venv.sh proto

$(LOCK):
	@VENV=.venv-lock .ci/venv.sh lock

$(AUDIT):
	@VENV=.venv-audit .ci/venv.sh audit

.PHONY: help
help: ## Show this
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: demo
demo: $(READY_DEMO) ## Run the tour: everything imgctl does, on this machine alone
	@$(BIN)/imgctl sandbox --demo

.PHONY: test
test: $(DEV) ## Run the tests; PYTEST_ARGS='-k word' for some of them
	$(BIN)/pytest -n auto $(PYTEST_ARGS)

.PHONY: lint
lint: $(DEV) ## Check style, types and which room imports which
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: format
format: $(DEV) ## Put style right
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: proto
proto: $(PROTO) ## Generate code from the .proto again
	.venv-proto/bin/python .ci/proto.py

.PHONY: docs
docs: $(DEV) ## Write the reference pages that are told from the code
	$(BIN)/python .ci/reference.py

.PHONY: lock
lock: $(LOCK) ## Write .ci/dev.lock and .ci/tools.lock anew, from what pyproject.toml allows
	@.ci/lock.sh

LOCKS := .ci/dev.lock .ci/tools.lock

# CVE-2024-23342: signing with `ecdsa` can be timed. python-jose asks for the package, and
# imgctl neither signs with it nor imports it: python-jose verifies by `cryptography`.
ACCEPTED := CVE-2024-23342

.PHONY: audit
audit: $(AUDIT) ## Ask an advisory service about the packages in both locks
	.venv-audit/bin/pip-audit $(LOCKS:%=--requirement %) --require-hashes --disable-pip --strict \
		--progress-spinner off $(ACCEPTED:%=--ignore-vuln %)

# Not isolated: what builds comes from a lock, and not anew from an index.
#
# What is to be baked in goes through the environment, unexpanded and unechoed: a secret
# may hold any character.
BAKE := SERVER SOURCE DESTINATION DEX_URL CLIENT_ID CLIENT_SECRET AUDIENCE
$(foreach name,$(BAKE),$(eval build: export IMGCTL_BAKE_$(name) = $$(value BAKE_$(name))))

.PHONY: build
build: $(READY_BUILD) ## Build wheel and sdist into dist/; BAKE_SOURCE=dev BAKE_CLIENT_ID=… bake defaults in
	@rm -rf dist
	@$(BIN)/python -m build --no-isolation --outdir dist

.PHONY: smoke
smoke: ## Install what is in dist/ into an empty environment and run it
	@.ci/smoke.sh

.PHONY: test-lowest
test-lowest: ## Run the generated code and the client on the lowest versions allowed
	@.ci/lowest.sh

.PHONY: peers
peers: ## Install real servers and rival tools into .peers/, for tests and benchmarks
	@.ci/peers.sh

PART ?= all

.PHONY: bench
bench: $(DEV) ## Measure, into docs/benchmarks.md; PART=start, auth, image or spa, WORK=large, RUNS=3
	$(BIN)/python -m tests.bench $(PART) $(if $(RUNS),--runs $(RUNS)) $(WORK:%=--work %) $(BENCH_ARGS)

.PHONY: version
version: ## Print the version that a build would have
	@.ci/python.sh .ci/version.py

.PHONY: tag
tag: ## Tag this commit as the next patch release, here only
	@.ci/release.sh tag

.PHONY: release
release: ## Push this commit's tag, and publish dist/ as a GitHub release
	@.ci/release.sh publish

.PHONY: clean
clean: ## Remove what was built and what tools remembered
	rm -rf dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage
	find . -name __pycache__ -not -path './.venv*' -not -path './.peers/*' -prune -exec rm -rf {} +

.PHONY: distclean
distclean: clean ## Remove the environments and the peers, too
	rm -rf .venv .venv-proto .venv-lowest .venv-lock .venv-audit .peers
