# The commands people need. Everything is compiled once, in release, into one folder outside the checkout, and RocksDB
# (20 minutes of C++) once into an archive beside it: demo, test, bench and .ci/run share both.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test bench profile faults build setup fmt conformance-streams

HEADWATER_CACHE ?= $(HOME)/.cache/headwater
export HEADWATER_CACHE
export CARGO_TARGET_DIR := $(HEADWATER_CACHE)/target
HEADWATER := $(CARGO_TARGET_DIR)/release/headwater

# Where the RocksDB archive is, for cargo; builds it the first time. The assignment makes a failure stop the recipe.
ROCKSDB = rocksdb="$$(scripts/rocksdb.sh)"; eval "$$rocksdb"

help: ## this list
	@echo 'Headwater: durable workflows and streams that resume, on one log.'; echo
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-22s %s\n", $$1, $$2 }'
	@echo; echo 'Builds live in $(HEADWATER_CACHE); set HEADWATER_CACHE to move them.'

demo: build ## a node, workers and tokens, with kill -9 in mid-stream; KEEP=1 leaves the node up
	@$(HEADWATER) demo $(if $(KEEP),--keep)

test: setup ## all that CI runs: format, lints, every test
	@$(ROCKSDB); scripts/test.sh

bench: build ## measure; BENCH=name for one of them
	@$(ROCKSDB); cargo bench -p headwater --bench '$(if $(BENCH),$(subst -,?,$(BENCH)),*)'

profile: setup ## where a bench's CPU time goes, by function; BENCH=name, CASE='512 producers' for a case of append-log
	@$(ROCKSDB); scripts/profile.sh '$(if $(BENCH),$(BENCH),append-log)' $(if $(CASE),'$(CASE)')

faults: build ## plant faults in large numbers, one script of scripts/faults after the other; FAULTS=disk for one
	@$(ROCKSDB); for script in scripts/faults/$(if $(FAULTS),$(FAULTS),*).sh; do "$$script"; done

conformance-streams: build ## the Durable Streams protocol's own suite (npm) against this node
	@HEADWATER=$(HEADWATER) tests/clients/durable-streams/run.sh

build: setup ## the binary, in release
	@$(ROCKSDB); cargo build --release --workspace --bins
	@echo 'Built $(HEADWATER)'

setup: ## install what is missing on Debian, and build RocksDB once
	@scripts/setup.sh
	@scripts/rocksdb.sh > /dev/null

fmt: ## format the code
	@cargo fmt --all
