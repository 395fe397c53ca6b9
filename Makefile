# Tidemark. `make` lists what there is.

# For `make demo`; see `make help`.
SIZE ?= demo
EDGE_PORT ?= 3000
ORIGIN_PORT ?= 3001
RUNNER ?= host

# For `make soak` and `make chaos`. (Bash has a SECONDS of its own, so the shell's does not count.)
READS ?= 1000000
SOAK_LENGTH := --seconds $(SECONDS)
ifneq ($(origin SECONDS),command line)
SECONDS := 600
SOAK_LENGTH := --reads $(READS)
endif
SEED_OPTION := $(if $(SEED),--seed $(SEED))

DEMO_DIR := .tidemark
WASM := --package tidemark-edge --target wasm32-wasip2

.DEFAULT_GOAL := help
.PHONY: help setup build demo clean-demo test test-proxy soak chaos bench bench-build bench-quick bench-report lint

help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo 'make demo takes EDGE_PORT=3000 ORIGIN_PORT=3001 SIZE=demo|full RUNNER=host|spin.'
	@echo 'make soak takes READS=1000000 or SECONDS=1800, and SEED=…; make chaos takes SECONDS=600 SEED=….'
	@echo 'make bench and make bench-quick take ONLY="latency growth …".'

setup: ## Install what is missing: Redis, PostgreSQL, Prometheus, twemproxy, wrk, the wasm target.
	@ops/setup

build: setup ## Build everything.
	cargo build
	@# Where spin.toml looks for it, also with CARGO_TARGET_DIR set.
	cargo build $(WASM) --release --target-dir target

demo: build ## Run the ERP example; Ctrl-C stops it and keeps its data.
	@exec cargo run --quiet --bin tidemark-demo -- \
		--dir $(DEMO_DIR) --size $(SIZE) --runner $(RUNNER) \
		--edge-port $(EDGE_PORT) --origin-port $(ORIGIN_PORT)

clean-demo: ## Remove the demo's data.
	@# PostgreSQL's data may be elsewhere, behind a link: see tests/src/demo.rs.
	@if [ -L $(DEMO_DIR)/postgres ]; then rm -rf "$$(readlink $(DEMO_DIR)/postgres)"; fi
	rm -rf $(DEMO_DIR)

# End-to-end tests mostly wait, so there are more of them at a time than a small machine has cores.
test: build ## Run all tests; the last summary is that of the survival tests.
	@ops/setup --browser
	@ops/prometheus/check
	@# The edge by itself: beside it, everything else would be built a second time, with its features.
	cargo test --package tidemark-edge --tests
	RUST_TEST_THREADS=4 cargo test --tests

# Behind a proxy the edge does not learn that Redis is full: twemproxy takes OOM for a broken server.
test-proxy: build ## Run the end-to-end tests with twemproxy between edge and Redis.
	TIDEMARK_TEST_TWEMPROXY=1 RUST_TEST_THREADS=4 cargo test --test e2e -- \
		--skip redis_states::a_full_redis_serves_what_it_has_and_stores_nothing

soak: build ## Judge a million reads; Ctrl-C judges what there is.
	@exec cargo run --quiet --bin tidemark-soak -- soak $(SOAK_LENGTH) $(SEED_OPTION)

chaos: build ## The same while servers and network fail, for ten minutes.
	@exec cargo run --quiet --bin tidemark-soak -- chaos --seconds $(SECONDS) $(SEED_OPTION)

# As it ships: with all features of its dependencies that are built together, in release.
bench-build: setup
	@ops/setup --bench
	cargo build --release
	cargo build $(WASM) --release --target-dir target

bench: bench-build ## Measure Tidemark beside NestJS and nginx; writes docs/benchmarks.md. About an hour.
	@exec target/release/tidemark-bench run $(if $(ONLY),--only $(ONLY))

bench-quick: bench-build ## The same in under five minutes.
	@exec target/release/tidemark-bench run --quick $(if $(ONLY),--only $(ONLY))

bench-report: ## Write docs/benchmarks.md again, of the latest results.
	@exec cargo run --quiet --bin tidemark-bench -- report

lint: setup ## Check format and lints.
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo clippy $(WASM) -- -D warnings
