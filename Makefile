# "make help" lists the targets.

GO ?= go
# The race detector needs cgo and so a C compiler; without one the tests run
# without it and say so.
RACE := $(shell command -v "$$($(GO) env CC)" >/dev/null 2>&1 && echo -race)
# A process with the race detector would wait for a second before it ends.
export GORACE ?= atexit_sleep_ms=0
# Packages that are tested at a time: some of their time is waiting.
PACKAGES := $(shell echo $$((1 + $$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2))))
# How many parallel tests of a package run at a time. They mostly wait.
PARALLEL := 16
FUZZTIME ?= 60s
SOAK ?= 10m
MODEL ?= 10m
ATTACK ?= 10s
GOLANGCI_LINT_VERSION := v2.15.0
LINT_DIR := $(CURDIR)/.tools/golangci-lint-$(GOLANGCI_LINT_VERSION)

BINARIES = MYCELIUM_BIN="$(CURDIR)/bin/mycelium" MYCELIUM_JSAPP_BIN="$(CURDIR)/bin/jsapp" \
	MYCELIUM_LABAPP_BIN="$(CURDIR)/bin/labapp" MYCELIUM_YJS_BIN="$(CURDIR)/bin/yjs" \
	MYCELIUM_GRAPHQL_BIN="$(CURDIR)/bin/graphql" MYCELIUM_LIVEAPP_BIN="$(CURDIR)/bin/liveapp"

.DEFAULT_GOAL := help
.PHONY: help run build test test-go test-budgets test-sim test-scale crash scale model sim soak attack trial million storm comeback takeovers test-js test-cluster recovery pictures test-pages test-clients autobahn autobahn-ci matrix-table lint fmt generate fuzz bench bench-quick bench-plots bench-docs bench-profile bench-go clean

help: ## show this text
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: ## run the server on http://localhost:4000/
	$(GO) run ./cmd/mycelium

build: ## build the server to bin/mycelium
	$(GO) build -o bin/mycelium ./cmd/mycelium

# Go's tests compute and npm's clients wait, so they run side by side. What the clients'
# tests say comes in one piece.
test: ## run all tests: Go with the race detector, recordings, budgets, simulated clusters, ten thousand connections, real clients
	@$(MAKE) --no-print-directory -j2 test-in-go test-beside-go

.PHONY: test-in-go test-beside-go
test-in-go:
	@$(MAKE) test-go
	@$(MAKE) test-budgets

test-beside-go:
	@$(MAKE) --output-sync=target test-js
	@$(MAKE) --output-sync=target test-scale
	@$(MAKE) --output-sync=target test-sim

# -w leaves out what only debuggers read: seventy test binaries are linked in each run.
test-go: ## run the Go tests with the race detector
	@test -n "$(RACE)" || echo "no C compiler ($$($(GO) env CC)): running without the race detector"
	$(GO) vet ./...
	$(GO) test -vet=off -ldflags=-w $(RACE) -p $(PACKAGES) -parallel $(PARALLEL) ./...
	cd examples/graphql && $(GO) vet ./... && $(GO) test $(RACE) ./...

# The packages are found by their tests: fifty others would be linked in vain.
BUDGETS := Alloc|Memory|Heap|Small
test-budgets: ## test allocations and memory per connection, without the race detector, which changes both
	$(GO) test -count=1 -run '$(BUDGETS)' $(sort $(dir $(shell grep -rlE '^func Test[A-Za-z]*($(BUDGETS))' --include='*_test.go' --exclude-dir=node_modules .)))

test-sim: ## simulate a cluster with 2,000 seeds, without the race detector, which is six times slower
	$(GO) test -count=1 -v -run 'Seeds|SameRun' ./cluster/internal/sim

test-scale: ## test ten thousand connections on one topic, and a short soak, without the race detector
	$(GO) test -count=1 -v -run Scale ./compat_tests/scale

scale: ## test 19,000 connections, 2,000 instances, slow receivers and heartbeats (10 minutes, on an otherwise idle machine)
	$(GO) test -count=1 -v -timeout 30m -run Scale ./compat_tests/scale -full

model: ## compare random lives of channels with a model, with the race detector, for MODEL (10m)
	MODEL=$(MODEL) $(GO) test $(RACE) -count=1 -v -timeout 2h -run LifeModel ./channels
	REJOINS=3000 $(GO) test -count=1 -v -run RejoinBehindAnEnd ./channels

soak: ## run an hour's worth of clients, which come and go in every way, in SOAK (10m)
	SOAK=$(SOAK) $(GO) test -count=1 -v -timeout 2h -run ScaleSoak ./compat_tests/scale

sim: ## simulate a cluster with 100,000 seeds, plant each bug of MUTANTS.md, and simulate takeovers with 10,000 seeds (20 minutes)
	$(GO) test -count=1 -v -timeout 2h -run Seeds ./cluster/internal/sim -seeds 100000
	$(GO) test -count=1 -v -timeout 2h -run Mutants ./cluster/internal/sim -mutants
	$(GO) test -count=1 -v -timeout 2h -run Takeovers ./instances/internal/owners -seeds 10000

crash: ## kill -9 the server two hundred times during changes to instances, over HTTP and in what their types save
	MYCELIUM_CRASHES=200 $(GO) test -count=1 -v -run Killed ./cmd/mycelium ./instances

attack: ## run hostile clients beside a chat and check its latency and the server's memory, descriptors and log, each for ATTACK (10s)
	$(GO) test -count=1 -v -timeout 30m ./compat_tests/attack -for $(ATTACK)

TRIAL ?= 10m -clients 3000 -long
trial: ## stop and kill three nodes in turn under 3,000 clients, cut networks for up to 5 minutes, and track 100,000 presences (20 minutes; cutting networks needs root)
	$(GO) test -count=1 -v -timeout 2h ./compat_tests/cluster -for $(TRIAL)

MILLION ?= 1000000
million: ## send one message to MILLION (1,000,000) clients of one cluster, on as many processes as the limit on open files requires (5 minutes, 17 GB of memory)
	$(GO) test -count=1 -v -timeout 1h -run TestMillion ./compat_tests/cluster -million $(MILLION)

STORM ?= 5000
storm: ## kill a node with STORM (5,000) clients, which come back to two others at once, each with 100 messages to catch up
	$(GO) test -count=1 -v -timeout 10m -run TestStorm ./compat_tests/cluster -storm $(STORM)

COMEBACK ?= 20000
COMEBACKS ?= .
comeback: ## kill -9 two nodes with COMEBACK (20,000) clients on them and start them again: the table of docs/operations.md (4 minutes, on an otherwise idle machine)
	$(GO) test -count=1 -v -timeout 20m -run 'TestComeback/$(COMEBACKS)' ./compat_tests/cluster -comeback $(COMEBACK)

TAKEOVERS ?= 1000
takeovers: ## stop, kill and cut off owners of instances until there were TAKEOVERS (1,000) takeovers of counters, and as many of documents with clients (15 minutes; cutting networks needs root)
	$(GO) test -count=1 -v -timeout 2h -run TakeoverProcesses ./instances/natsstore -takeovers $(TAKEOVERS)
	$(GO) test -count=1 -v -timeout 2h -run TestTakeovers ./compat_tests/cluster -takeovers $(TAKEOVERS)

# The servers and packages that npm's clients are tested with. npm writes its hidden lock
# file when it has installed everything.
MODULES := $(addsuffix /node_modules/.package-lock.json,compat_tests/js examples/backends/node)
.PHONY: js-ready
js-ready: build $(MODULES)
	$(GO) build -o bin/ ./compat_tests/jsapp ./compat_tests/labapp ./compat_tests/liveapp ./examples/yjs
	$(GO) build -C examples/graphql -o ../../bin/graphql .

$(MODULES): %/node_modules/.package-lock.json: %/package-lock.json
	cd $* && npm ci --no-audit --no-fund

test-js: js-ready ## test npm's clients and the guides, in Node and Chromium
	cd compat_tests/js && $(BINARIES) npm test

test-cluster: js-ready ## replay Phoenix's recordings over TLS, over raw TCP and beside load, and run the suites of phoenix.js against a node of a cluster while another node has load (5 minutes)
	$(GO) test -count=1 -timeout 30m -parallel $(PARALLEL) -run BesideLoad ./compat_tests -whole
	$(GO) test -count=1 -timeout 30m -parallel $(PARALLEL) -run 'OverTLS|OverTCP' ./compat_tests -whole
	cd compat_tests/js && $(BINARIES) npm run -s test:cluster

recovery: js-ready ## cut clients off 200 times each, end the nodes that they are on as often, and write the table of docs/history.md (an hour; needs what make test-clients has built; parts of it: RECOVERY_PART, RECOVERY_WAYS, RECOVERY_ONLY)
	cd compat_tests/js && $(BINARIES) node recovery/main.mjs --write

pictures: js-ready ## remake docs/pictures: the example pages, and the observer under load (2 minutes; needs Chromium)
	cd compat_tests/js && $(BINARIES) node pictures.mjs

test-pages: js-ready ## test the pages that the server has, and axe-core on each of them, in Chromium (a part of test-clients)
	cd compat_tests/js && $(BINARIES) npm run -s test:pages

# Browsers compute, and the other clients mostly wait, so they run side by side too.
test-clients: js-ready ## test the clients that "make test" leaves out: npm's in Firefox and WebKitGTK, and those of Maven, PyPI and crates.io; the pages; docs/backends.md's signature checks and back ends, certificates of an ACME server, TLS with sslyze, and short load tests of Tsung and Artillery (needs Maven, a JDK, Python, PostgreSQL, Ruby, PHP, Rust 1.88, tsung and the browsers)
	@$(MAKE) --no-print-directory --output-sync=target -j2 test-in-browsers test-beside-browsers

.PHONY: test-in-browsers test-beside-browsers
test-in-browsers:
	cd compat_tests/js && $(BINARIES) npm run -s test:pages
	cd compat_tests/js && $(BINARIES) npm run -s test:browsers

# The last line needs what the first one has built.
test-beside-browsers:
	MYCELIUM_CLIENTS=1 $(GO) test $(RACE) -count=1 -timeout 40m ./compat_tests/clients ./compat_tests/api ./compat_tests/signatures ./compat_tests/acme ./compat_tests/sslyze
	@$(MAKE) --no-print-directory test-load
	cd compat_tests/js && $(BINARIES) MYCELIUM_CLIENTS=1 node --test --test-reporter=spec backends.test.mjs recovery.test.mjs recovery_nodes.test.mjs history_guide.test.mjs

autobahn: ## run all cases of Autobahn's fuzzing client and write its RESULTS.md (16 minutes on two cores; needs Python 2.7)
	MYCELIUM_AUTOBAHN=all $(GO) test -count=1 -v -parallel 4 -timeout 2h ./compat_tests/autobahn -write-results

autobahn-ci: ## run the same without most cases of compression
	MYCELIUM_AUTOBAHN=1 $(GO) test -count=1 -v -parallel 4 -timeout 30m ./compat_tests/autobahn

matrix-table: build ## write the table of npm clients in docs/compatibility.md
	$(GO) build -o bin/ ./compat_tests/jsapp ./compat_tests/labapp
	cd compat_tests/js && $(BINARIES) npm run -s matrix:table -- --write

lint: ## run golangci-lint, check the import arrows, and vet what is built for macOS
	test -x $(LINT_DIR)/golangci-lint || GOBIN=$(LINT_DIR) $(GO) install \
		github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION)
	$(LINT_DIR)/golangci-lint run
	cd examples/graphql && $(LINT_DIR)/golangci-lint run
	$(GO) test ./internal/arrows
	GOOS=darwin $(GO) vet ./...

fmt: ## gofmt all Go files
	gofmt -w $$(git ls-files '*.go')

generate: ## remake what comes from tables and types: the help, docs/configuration.md, docs/metrics.md, instances.Limits, the API's schemas, the arrows of ARCHITECTURE.md, internal/goapi/api
	$(GO) test -count=1 -run 'Texts|LimitsOfSpecs' ./internal/config -rewrite
	$(GO) test -count=1 -run 'Reference|Schemas|Architecture' ./internal/arrows ./internal/docs ./httpapi -rewrite
	$(GO) test -count=1 -run API ./internal/goapi -rewrite

fuzz: ## run every fuzz target for FUZZTIME (60s), or that often (3000x)
	@grep -roE '^func Fuzz[A-Za-z0-9]*' --include='*_test.go' --exclude-dir=node_modules . | sed 's|/[^/]*:func | |' | sort | while read -r dir target; do \
		echo "$$dir $$target"; \
		$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "$$dir" </dev/null || exit 1; \
	done

bench: ## measure the figures that mycelium commits to, as ratios to a C program, in one table (7 minutes; needs a C compiler)
	$(GO) run ./compat_tests/bench

bench-quick: ## measure the same in a minute, less accurately
	$(GO) run ./compat_tests/bench -quick

bench-plots: ## measure how costs grow with connections, topics, subscribers and size, and draw docs/performance/*.svg (7 minutes)
	$(GO) run ./compat_tests/bench -plots docs/performance

bench-docs: bench-plots ## do that, and write the table of make bench into docs/performance.md
	$(GO) run ./compat_tests/bench -write docs/performance.md

bench-profile: ## profile a saturated fan-out into bin/fanout.pprof, and print its top
	mkdir -p bin
	$(GO) run ./compat_tests/bench -profile bin/fanout.pprof
	$(GO) tool pprof -top -nodecount=25 bin/fanout.pprof

bench-go: ## run the Go benchmarks, with allocations
	$(GO) test -run '^$$' -bench . -benchmem ./...

.PHONY: test-load load-tsung load-artillery
test-load: build ## run a short load test each of Tsung and Artillery (a part of test-clients; needs Debian's package tsung, and Node)
	MYCELIUM_BIN="$(CURDIR)/bin/mycelium" MYCELIUM_CLIENTS=1 $(GO) test -count=1 -timeout 10m ./compat_tests/load

# The sizes of the load tests: users, and seconds for which the users of a scenario talk.
USERS ?= 1000
SECONDS ?= 20
load-tsung: build ## run the load tests of Tsung, with USERS (1000) who talk for SECONDS (20), and write docs/load-tests.md (6 minutes; needs Debian's package tsung)
	$(GO) run ./compat_tests/load -users $(USERS) -seconds $(SECONDS) tsung

load-artillery: build ## run those of Artillery, in the same way (7 minutes; needs Node)
	$(GO) run ./compat_tests/load -users $(USERS) -seconds $(SECONDS) artillery

clean: ## remove what was built
	rm -rf bin .tools compat_tests/js/node_modules compat_tests/js/artifacts compat_tests/load/artillery/node_modules
	rm -rf compat_tests/clients/java/target compat_tests/clients/kotlin/target compat_tests/clients/python/.venv compat_tests/clients/graphql/.venv compat_tests/clients/rust/target
	rm -rf compat_tests/api/.venv compat_tests/sslyze/.venv compat_tests/api/python/.venv compat_tests/api/python/generated compat_tests/api/ts/node_modules compat_tests/api/ts/generated compat_tests/autobahn/.python compat_tests/autobahn/reports
	rm -rf examples/backends/node/node_modules examples/backends/python/.venv
