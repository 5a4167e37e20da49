# Bare `make` lists what one can do.
.DEFAULT_GOAL := help
.PHONY: help local serve check test bless long deny pip template test-aws invoke bench bench-aws ci

REQUEST ?= examples/external-package-request.csv
OUT ?= .gate
TARGET := $(or $(CARGO_TARGET_DIR),target)

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

local: ## run the gate on the example; REQUEST=file.csv OUT=folder for your own
	cargo run --release -p gate -- check $(REQUEST) --out $(OUT)

serve: ## serve what OUT holds of approved packages to pip, on loopback
	cargo run --release -p gate -- serve --out $(OUT)

check: ## formatting and lints
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --all-features -- -D warnings

test: ## every test; no network, no AWS
	cargo test --workspace

bless: ## run the tests and accept the snapshots that changed; read the diff before you commit
	INSTA_UPDATE=always INSTA_FORCE_PASS=1 cargo test --workspace --no-fail-fast
	git status --short -- '*.snap'

long: ## what does not fit CI, for hours; ONLY=properties for a step, SEED and CASES for that one
	ONLY=$(ONLY) SEED=$(SEED) CASES=$(CASES) .ci/long

deny: ## licences, banned crates, sources and advisories of the dependencies
	.ci/deny.sh licenses bans sources advisories

pip: ## install approved packages with a real pip from the gate's index; needs a Python index
	cargo build --release -p gate
	.ci/pip-install.sh $(TARGET)/release/gate

template: ## the template and the state machines: linters, and rules of our own
	.ci/template.sh

test-aws: ## the whole stack on an emulator of AWS, end to end; T=test_story.py for one file
	.ci/aws-emulator.sh $(T)

invoke: ## one function in Docker, with its events: F=fetcher; without F all of them
	tests/aws/local/invoke.sh $(F)

bench: ## ours against peers and floors, both halves; tables and target/bench.json; ONLY=P1,P2 for some
	cargo build --release -p gate -p gate-bench
	$(TARGET)/release/gate-bench $(if $(ONLY),--only $(ONLY))
	ONLY=$(ONLY) tests/aws/bench/run.sh

bench-aws: ## the AWS half alone: memory, copying, starts, sizes, 50 and 10,000 rows
	ONLY=$(ONLY) tests/aws/bench/run.sh

ci: ## everything that CI runs
	.ci/run
