# Everything a person runs here. `make help` lists it.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
# No target is a file.
.PHONY: $(shell sed -n 's/^\([a-z0-9-]*\):.*/\1/p' $(firstword $(MAKEFILE_LIST)))

CARGO ?= cargo
PORT ?= 8080
SOAK ?= 5m
CHURN ?= 600
# What images and nodes get: the working build, or `dist` after `make release`.
PROFILE ?= release
# The packages of services/, from the manifests of the systems.
SERVICES = $(shell sed -n 's/^command = .* --package \([a-z-]*\) .*/\1/p' services/*/spin.toml)
# The architectures of programs and images, of amd64 and arm64: this machine's own by default, and both of a release.
ARCHITECTURES ?=
release: ARCHITECTURES := $(or $(ARCHITECTURES),amd64 arm64)
architectures = $(addprefix --architecture ,$(ARCHITECTURES))

# Cargo chooses the features of dependencies for all selected packages together. A package that is selected beside another one gets the
# same features, and the dependencies are compiled once: for programs those of the host, for tests those of the end-to-end tests.
like_host = --package wasi-http-host
like_e2e = --package testkit --package e2e

help: ## list the targets
	@awk -F':.*## ' '/^## /{printf "\n%s\n", substr($$0, 4)} /^[a-z0-9-]+:.*## /{printf "  make %-16s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

## Build and run

setup: ## install what is missing: the pinned Rust and its WebAssembly target
	@scripts/setup

build: setup ## build the component and the host, optimised
	@echo "==> building gists.wasm and wasi-http-host (the first time takes some minutes)"
	@$(CARGO) build --profile dist --locked --package gists --target wasm32-wasip2
	@$(CARGO) build --release --locked --package wasi-http-host --bin wasi-http-host

release: build ## what ships: the host, guided by a profile of its load, and images of both ARCHITECTURES; wants wrk, protoc, qemu-user
	@CARGO="$(CARGO)" scripts/release
	@CARGO="$(CARGO)" scripts/programs dist $(architectures)
	@scripts/image --profile dist $(architectures) service installer

run: build ## serve the API on http://localhost:8080 (PORT; reads .env)
	@PORT=$(PORT) scripts/run

demo: build ## the same on top of an invented GitHub, wholly offline
	@$(CARGO) build --release --locked --package e2e $(like_host) --bin fake-github
	@PORT=$(PORT) scripts/demo

services: setup ## the components of services/ (services/README.md)
	@echo "==> building the services"
	@$(CARGO) build --profile dist --locked --target wasm32-wasip2 $(addprefix --package ,$(SERVICES))

run-services: build services ## serve all systems of services/ offline, each on a port of its own (SYSTEMS='greeting my-app')
	@scripts/run-services $(SYSTEMS)

run-server: build services ## serve the greeting and the time zones alone (reads services/greeting/.env)
	@scripts/run-services greeting

examples: setup ## components of other tool chains (examples/README.md); wants npm, Python 3 and Go
	@examples/build

clean: ## remove what was built
	@$(CARGO) clean

## Test

test: test-component test-host test-e2e test-services test-bench ## unit, property, host and end-to-end tests; wants redis-server, curl, openssl

test-component: setup ## the component's logic, natively
	@echo "==> component: unit and property tests"
	@$(CARGO) test --release --locked --package gists --package component-allocator

test-host: setup ## the host, with small guests of its own; and the links between documents
	@echo "==> host: unit tests, and each limit against a guest that breaks it"
	@$(CARGO) test --release --locked --package "wasi-http-host*"

test-e2e: build ## the real component in the real host against a fake GitHub
	@echo "==> end to end"
	@$(CARGO) test --release --locked $(like_e2e) --package cluster-e2e

test-services: build services ## the services' logic, natively, and the systems in the real host; wants openssl, redis-server
	@echo "==> services"
	@$(CARGO) test --release --locked --package web --package shop-model $(addprefix --package ,$(SERVICES))
	@$(CARGO) test --release --locked --package services-tests --package techcommerce-e2e $(like_e2e) --test services --test techcommerce

test-bench: setup ## the benchmark's own load generator, and what it reads of callgrind
	@echo "==> benchmark"
	@$(CARGO) test --quiet --release --locked --package bench-load $(like_e2e) --bin bench-load
	@python3 -B -m unittest discover --start-directory bench

test-pages: build services ## the pages in a real browser, with pictures in target/pages; wants Node.js and Chromium
	@echo "==> pages"
	@$(CARGO) build --release --locked --package e2e $(like_host) --bin fake-github
	@e2e/pages/run

test-tutorials: build ## the commands of the README and of docs/tutorials, as a reader runs them; wants npm, Python 3 and Go
	@echo "==> tutorials"
	@python3 -B -m unittest discover --start-directory scripts/tutorials --top-level-directory scripts
	@$(CARGO) build --release --locked --package e2e $(like_host) --bin fake-github
	@scripts/check-tutorials

test-examples: build examples ## the examples, each in the real host
	@echo "==> examples"
	@$(CARGO) test --release --locked --package examples $(like_e2e) --test examples -- --skip figures
	@$(CARGO) test --quiet --release --locked --package examples $(like_e2e) --test examples figures -- --nocapture

faults: faults-build ## what goes wrong around the host, a line each (docs/faults.md); FAULTS='--only redis-killed'
	@$${CARGO_TARGET_DIR:-target}/release/faults $(FAULTS)

soak: faults-build ## minutes of everything at once (SOAK=60s); memory, files, instances, permits must come back
	@$${CARGO_TARGET_DIR:-target}/release/faults soak --for $(SOAK)

faults-build: build
	@$(CARGO) build --locked --release --package guest-service --package guest-forwarder --target wasm32-wasip2
	@$(CARGO) test --quiet --release --locked --package faults $(like_e2e) --bin faults
	@$(CARGO) build --quiet --release --locked --package faults $(like_host) --bin faults

fuzz: ## feed anything to what reads text from outside, FUZZ_SECONDS (60) for each reader; wants a nightly Rust
	@fuzz/run

lint: setup lint-reference lint-layers lint-names lint-python lint-shell ## formatting, clippy, layers, Python, shell, the WIT as published; wants protoc, Python 3
	@$(CARGO) fmt --all --check
	@rustfmt --edition 2024 --check fuzz/src/*.rs fuzz/targets/*.rs
	@$(CARGO) clippy --release --workspace --all-targets --locked -- --deny warnings
	@$(CARGO) clippy --profile dist --package gists --package web $(addprefix --package ,$(SERVICES)) --target wasm32-wasip2 --locked -- --deny warnings
	@scripts/wit-deps --check

lint-layers: setup ## which crates may use each other, and no cycle between the modules of a crate (tools/layers)
	@$(CARGO) test --quiet --release --locked --package layers
	@$(CARGO) run --quiet --release --locked --package layers -- tools/layers/layers.toml Cargo.toml fuzz/Cargo.toml

lint-python: ## ruff and mypy on all Python
	@scripts/lint-python

lint-shell: ## shellcheck on all shell scripts
	@scripts/lint-shell

lint-workflows: ## the workflows of GitHub: syntax, security, and that each step is a script listed in docs/release.md; wants Go
	@scripts/lint-workflows

lint-security: ## secrets in the history, insecure Python, our own rules, licences and sources of dependencies; wants Go
	@scripts/lint-security

coverage: setup ## which lines the tests run, with a floor (target/coverage); COVERAGE='--floor 80 gists'; wants redis-server, curl, openssl
	@scripts/coverage $(COVERAGE)

lint-names: ## names that this repository no longer uses (scripts/retired-names)
	@scripts/lint-names

generate: setup ## write the copies of the component's settings anew, from component/src/settings/table.rs
	@scripts/generate

reference: setup ## write the book's pages of flags, metrics and exit codes anew: docs/reference
	@UPDATE_REFERENCE=1 $(CARGO) test --quiet --release --locked --package wasi-http-host --lib reference

lint-reference: setup ## whether those pages are what the program says
	@$(CARGO) test --quiet --release --locked --package wasi-http-host --lib reference

fmt: setup ## format the code, Python too
	@$(CARGO) fmt --all
	@rustfmt --edition 2024 fuzz/src/*.rs fuzz/targets/*.rs
	@scripts/lint-python --fix

## Documentation

docs: setup ## the documentation as a site on http://localhost:3000 (DOCS_PORT), built again when a page changes
	@scripts/docs serve

docs-build: setup ## the site in target/book, without a warning or a broken link; compiles mdBook once a machine
	@echo "==> documentation"
	@scripts/docs build

## Measure

bench: build ## beside native axum, FastAPI, and Spin and wasmtime where they are on the PATH (BENCH=--quick); wants wrk
	@bench/run $(BENCH)

instructions: build ## instructions a request, beside native axum (INSTRUCTIONS=--check against the kept ones); wants valgrind
	@$(CARGO) build --quiet --release --locked --package bench-native
	@$(CARGO) build --quiet --release --locked --package e2e $(like_host) --bin fake-github
	@bench/instructions $(INSTRUCTIONS)

bench-scale: build ## how cost grows: body size, cached users, open connections; native beside this host
	@bench/scale

bench-services: build services ## the shop beside its first versions in Flask, Express and Node; wants wrk and Node.js
	@bench/services/run

bench-hostile: build ## a component's latencies, and the process's memory, while another component of the process attacks
	@bench/hostile

## Release

sbom: ## CycloneDX SBOMs of the images, in target/sbom
	@scripts/sbom $${CARGO_TARGET_DIR:-target}/sbom

test-delivery: ## what is published, attested and reported, without a registry
	@$$(scripts/python-environment scripts/security-requirements.txt)/bin/python -B -m unittest discover --start-directory scripts/delivery --top-level-directory scripts

## Images, nodes, clusters

image: build ## container images of the service under target/image, without Docker; PROFILE=dist after `make release`
	@CARGO="$(CARGO)" scripts/programs $(PROFILE) $(architectures) host
	@scripts/image --profile $(PROFILE) $(architectures) service

image-services: services ## images of the services (k8s/README.md, "Services")
	@scripts/image services

image-cluster: ## images that only cluster tests need: a fake GitHub, Debian's redis, prometheus and busybox
	@$(CARGO) build --release --locked --package e2e $(like_host) --bin fake-github
	@scripts/image test

programs: build ## the static programs for nodes, in target/node/PROFILE: shim, host, verifier, installer; wants protoc
	@CARGO="$(CARGO)" scripts/programs $(PROFILE) $(architectures)

image-installer: programs ## the image whose DaemonSet installs them on nodes
	@scripts/image --profile $(PROFILE) $(architectures) installer

lint-k8s: ## everything that is applied to a cluster: schemas, analysers, the chart; wants Python 3 and Go
	@scripts/lint-k8s

test-monitoring: build ## rules, dashboards and runbooks, against the series that the real service exports
	@echo "==> monitoring"
	@$(CARGO) build --release --locked --package e2e $(like_host) --bin fake-github
	@scripts/monitoring check

test-image: build services ## the images' form: digests, layers, the same bytes twice
	@echo "==> images"
	@python3 -B -m unittest discover --start-directory scripts/oci --top-level-directory scripts

test-arm64: build ## the programs for arm64, under emulation; wants gcc-aarch64-linux-gnu, qemu-user and protoc
	@echo "==> arm64"
	@CARGO="$(CARGO)" scripts/test-arm64

test-installer: setup ## the installer on captured nodes; containerd 1.6 and 2, where there are any, read what it writes
	@echo "==> installer"
	@$(CARGO) test --release --locked --package wasi-http-installer
	@scripts/test-installer-alerts
	@scripts/test-installer-containerds

test-shim: build ## the shim under real containerds (2.x from the PATH, Debian's 1.6); as root, with runc and protoc
	@CARGO="$(CARGO)" scripts/programs release host
	@scripts/test-shim

test-cluster: setup ## the manifests on the cluster that KUBECONFIG names, which has our images (e2e/cluster/README.md)
	@echo "==> on the cluster"
	@CARGO="$(CARGO)" scripts/test-cluster

churn: ## hundreds of pods made and deleted on a cluster of its own, for CHURN seconds (600); as root; wants Go
	@scripts/cluster churn $(CHURN)

cluster-up: ## a cluster on this machine without Docker (local-cluster/README.md); as root; wants Go
	@scripts/cluster up

cluster-down: ## remove it
	@scripts/cluster down

install-istio: ## Istio in the cluster that KUBECONFIG names, over Helm (k8s/cluster/README.md; PLATFORM=--dry-run)
	@scripts/platform istio $(PLATFORM)

install-argocd: ## Argo CD
	@scripts/platform argocd $(PLATFORM)

install-observability: ## kube-prometheus-stack with our rules and dashboards
	@scripts/platform observability $(PLATFORM)

install-security: ## cert-manager, its issuers and the gateway's certificate, and Kyverno
	@scripts/platform security $(PLATFORM)

deploy-apps: ## the service with its namespace (PLATFORM='--overlay staging')
	@scripts/platform apps $(PLATFORM)

status: ## what is installed in the cluster, and what is not ready
	@scripts/platform status $(PLATFORM)

kind-up: ## a cluster with Docker and kind, with the runtime class, metrics-server and Istio
	@scripts/kind up

kind-deploy: build ## the service in it, at https://gists.local
	@scripts/kind deploy

kind-down: ## remove it
	@scripts/kind down
