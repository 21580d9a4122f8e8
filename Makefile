# make          builds build/release/kiln
# make demo     installs what is needed, builds, and runs a whole deployment on real instances
# make test     installs what is needed, builds, and passes every test
# make test-vm  runs the demo in a virtual machine with Debian's own kernel and systemd (slow; not part of `make test`)
# make bench    prints the figures of docs/performance.md
# make format   formats the code
SHELL := /bin/bash
JOBS ?= $(shell nproc)
SUDO := $(shell [ $$(id -u) = 0 ] || echo sudo -E)

.PHONY: all kiln setup setup-test setup-vm demo test test-vm bench format clean
all: kiln

kiln: build/release/build.ninja
	@ninja -C build/release -j $(JOBS) kiln

build/%/build.ninja: CMakePresets.json
	@cmake --preset $* > build-$*.log 2>&1 || { cat build-$*.log; rm -f build-$*.log; echo "Missing something? Run: make setup"; exit 1; }
	@rm -f build-$*.log

setup:
	@tools/setup.sh

setup-test:
	@tools/setup.sh --test

setup-vm:
	@tools/setup.sh --vm

demo: setup kiln
	@$(SUDO) build/release/kiln demo $(ARGS)

test: setup-test
	@tools/test.sh

test-vm: setup-vm kiln
	@$(SUDO) tools/test_vm.sh

bench: setup-test kiln
	@$(SUDO) bench/run.sh

format:
	@git ls-files '*.h' '*.cc' | xargs clang-format -i

clean:
	@rm -rf build
