# Each verb is ordinary Go: what it runs can be run without make.

export CGO_ENABLED ?= 0
GO      ?= go
STAMPED := -buildvcs=true -trimpath -ldflags='-s -w'

.DEFAULT_GOAL := help

help: ## print this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## bin/podseal, static, with its version
	$(GO) build $(STAMPED) -o bin/podseal ./plugin/podseal

test: ## all tests, with the race detector, and with a real SPIRE agent
	$(GO) run ./test/realstack/cmd/tools spire-agent spire-server >/dev/null
	CGO_ENABLED=1 $(GO) run ./test/run -race -count=1 ./...

demo: build ## SPIRE with podseal on an embedded node: three workloads get their identities, a stranger and an unsigned one do not
	$(GO) run ./test/demo

e2e: ## the real cluster: Kubernetes, containerd and SPIRE with podseal, beside the built-in attestor
	$(GO) build -tags e2e ./test/e2e/... # on all cores; -p 1 is for the tests, which share the machine
	$(GO) run ./test/run -live -tags e2e -count=1 -timeout 60m -parallel 32 -p 1 ./test/e2e/...

e2e-up: ## the cluster of the e2e test for a person: in the background, with a kubeconfig
	$(GO) run ./test/e2e/keep up

e2e-shell: ## a shell inside that cluster's machine; RUN='podseal doctor' runs that instead
	@$(GO) run ./test/e2e/keep shell $(RUN)

e2e-down: ## end that cluster
	$(GO) run ./test/e2e/keep down

bench: build ## podseal and the built-in attestor on the same work, as one table
	$(GO) run ./test/bench

lint: ## gofmt, vet, staticcheck, errorlint, gosec, govulncheck
	$(GO) run ./test/lint

fuzz: ## each fuzz target for FUZZTIME (default 30s)
	$(GO) run ./test/fuzz $(or $(FUZZTIME),30s)

.PHONY: help build test demo e2e e2e-up e2e-shell e2e-down bench lint fuzz
