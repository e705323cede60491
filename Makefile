# dinggate: `make help` lists what there is. Everything runs offline once modules and tools are there.
SHELL := /bin/bash
GO ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
REVISION ?= $(shell git rev-parse HEAD 2>/dev/null)
# The address of the repository, without a password in it.
SOURCE ?= $(shell git config --get remote.origin.url 2>/dev/null | sed 's,//[^/]*@,//,')
LDFLAGS := -s -w -X dinggate/internal/buildinfo.version=$(VERSION)
FUZZTIME ?= 20s
# What a release is built for; vet reads the tests of each system too.
TARGETS ?= linux/amd64 linux/arm64 linux/loong64 linux/riscv64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64 freebsd/amd64

.DEFAULT_GOAL := help
.PHONY: help build cross foreign release test check tools fuzz hostile endure scale bench demo image screenshots dashboard site golden clean clients

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## the binary, static and stripped, as bin/dinggate
	CGO_ENABLED=0 $(GO) build -trimpath -pgo=test/bench/dinggate.pgo -ldflags '$(LDFLAGS)' -o bin/dinggate ./cmd/dinggate

cross: ## the binary for every system and processor that is supported, thrown away, and vet for every system
	@set -e; export CGO_ENABLED=0; for target in $(TARGETS); do \
	  export GOOS=$${target%/*} GOARCH=$${target#*/}; echo "build $$target"; $(GO) build -trimpath -o /dev/null ./cmd/dinggate; \
	  case $$target in */amd64) echo "vet $$GOOS"; $(GO) vet ./... ;; esac; done

foreign: ## the binaries for Linux's processors run, in emulation where they are not this machine's
	@GO=$(GO) scripts/tools qemu-user-static
	FOREIGN=1 TEST_TOOLS=required $(GO) test -count=1 -timeout 60m -run TestForeign ./test/release

# All times in a release are the commit's. RELEASE_KEY: a PEM file with an Ed25519 key.
SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null)
PARTS ?= archive,package,image,sbom
MAINTAINER ?= The dinggate authors <dinggate@localhost>

release: ## archives, deb, rpm, image, SBOM, checksums for TARGETS in dist/release; runs those for Linux; docs/releasing.md
	@GO=$(GO) scripts/tools nfpm cyclonedx-gomod buildah ca-certificates qemu-user-static
	SOURCE_DATE_EPOCH=$(SOURCE_DATE_EPOCH) $(GO) run ./scripts/release -version '$(VERSION)' -revision '$(REVISION)' -source '$(SOURCE)' \
	  -maintainer '$(MAINTAINER)' -targets '$(TARGETS)' -parts '$(PARTS)'
	$(if $(and $(findstring archive,$(PARTS)),$(findstring linux/,$(TARGETS))),FOREIGN_DIR=$(CURDIR)/dist/release TEST_TOOLS=required \
	  $(GO) test -count=1 -timeout 30m -run TestForeign ./test/release)

test: tools ## every test with the race detector, real tools included; installs what is missing
	TEST_TOOLS=required $(GO) test -race -shuffle=on -timeout 30m ./...
	cd test/deploy/manifesttest && TEST_TOOLS=required $(GO) test ./...
	cd scripts/site && $(GO) test ./...

check: ## format, vet, linters where installed, and the tests
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { echo "gofmt would change:"; gofmt -l $$(git ls-files '*.go'); exit 1; }
	$(GO) vet ./...
	@for t in staticcheck golangci-lint govulncheck; do command -v $$t >/dev/null || echo "$$t is not installed: skipped"; done
	@if command -v staticcheck >/dev/null; then staticcheck ./...; fi
	@if command -v golangci-lint >/dev/null; then golangci-lint run; fi
	@if command -v govulncheck >/dev/null; then govulncheck ./...; fi
	$(GO) test -race ./...

tools: ## the programs that tests use: Debian packages, Go modules, npm packages
	@GO=$(GO) scripts/tools
	@GO=$(GO) scripts/traefik/build

fuzz: ## every fuzz target for FUZZTIME (20s) each
	@scripts/fuzz $(FUZZTIME)

clients: ## sign in with OpenID Connect clients that others wrote; a module of its own
	scripts/tools clients apache2 libapache2-mod-auth-openidc chromium node npm gcc python3
	cd test/clients && TEST_TOOLS=required $(GO) test -count=1 ./...

hostile: tools ## every known way to break an auth proxy, tried on the real program; NIGHT=1 adds the slow faults
	cd test/hostile && TEST_TOOLS=required HOSTILE_NIGHT=$(NIGHT) $(GO) test -count=1 -timeout 30m
	cd test/hostile/differential && TEST_TOOLS=required HOSTILE_NIGHT=$(NIGHT) $(GO) test -count=1 -timeout 90m

endure: ## 1,000 slow clients for a minute, 10,000 connections, 20,000 in 128 MiB (as root), a clock that is set, 110,000 schedules of grants, 200,000 sessions; wants a quiet machine
	ENDURE=1 $(GO) test -count=1 -v -timeout 20m -run 'TestSlowClients|TestManyConnections|TestMemoryGroup|TestClock' ./cmd/dinggate/test/endurance
	SCHEDULES=100000 $(GO) test -count=1 -v -timeout 5h -run '^TestSchedules$$' ./proxy/accessrequest
	SCHEDULES=10000 $(GO) test -count=1 -v -timeout 1h -run '^TestSchedules$$' ./oidc
	SCALE=1 $(GO) test -count=1 -v -timeout 1h -run TestSessionsLeaveNothingBehind ./session

scale: ## 10,000 people in virtual time: a rush of sign-ins, an hour of rechecks, one office; docs/scaling.md
	SCALE=1 $(GO) test -count=1 -v -timeout 60m -run TestScale ./cmd/dinggate/internal/server

bench: ## CPU per request beside a bare Go handler and a bare ReverseProxy
	$(GO) run ./test/bench -docs docs

pgo: ## the compiler's profile of the hot path, test/bench/dinggate.pgo; make it anew when the hot path changes
	$(GO) test -pgo=off -run '^$$' -bench BenchmarkServe -benchtime 5s -cpuprofile test/bench/dinggate.pgo -o /dev/null ./cmd/dinggate/internal/server

demo: ## the whole thing in one process, on loopback
	@echo "Compiling dinggate, about a minute the first time. 正在编译，首次约需一分钟 …"
	@$(GO) run ./cmd/dinggate demo

image: build ## a container image (needs buildah, or docker as BUILDER)
	mkdir -p dist && cp bin/dinggate dist/dinggate && cp /etc/ssl/certs/ca-certificates.crt dist/
	$(if $(BUILDER),$(BUILDER) build,buildah build --format docker) --build-arg BINARY=prebuilt --build-arg VERSION=$(VERSION) \
	  --build-arg REVISION=$(REVISION) --build-arg CREATED=$$(date -u +%Y-%m-%dT%H:%M:%SZ) --build-arg SOURCE=$(SOURCE) -t dinggate:$(VERSION) .

screenshots: tools ## pictures of the pages for the README, taken in Chromium
	SCREENSHOTS=1 TEST_TOOLS=required $(GO) test -run TestScreenshots ./cmd/dinggate/test/browser

dashboard: tools ## the picture of the Grafana dashboard, drawn from what a real Prometheus says of a busy minute
	DASHBOARD_PICTURE=1 TEST_TOOLS=required $(GO) test -count=1 -run TestDashboardPicture ./cmd/dinggate/test/monitoring

site: ## the documentation as a static site, dist/site
	cd scripts/site && $(GO) run . ../.. ../../dist/site

golden: ## rewrite the expected pages and messages; read the difference before committing
	$(GO) test ./internal/page -update
	$(GO) test ./cmd/dinggate -run TestScripts -update
	$(GO) test ./cmd/dinggate/internal/gatewayconf -run 'TestGen|TestGatewayPages' -update

clean: ## what building leaves behind
	rm -rf bin dist
