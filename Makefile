# The front door. Each goal installs what it misses, builds, and runs; the
# build itself is CMake's (see CMakePresets.json).

PREFIX ?= /usr/local
DESTDIR ?=
ARGS ?=
T ?= 60
S ?= 600

.PHONY: help run test check bench fuzz soak coverage install clean

help:
	@echo 'make run [ARGS=...]  build and start the demo on 127.0.0.1:8080'
	@echo 'make test            build and run every test'
	@echo 'make check           lint, house rules, ASan, UBSan and TSan suites'
	@echo 'make bench           build and run the benchmarks'
	@echo 'make fuzz [T=60]     run each fuzzer for T seconds'
	@echo 'make soak [S=600]    random clients for S seconds, then count the memory'
	@echo 'make coverage        run the tests and print what they cover'
	@echo 'make install [PREFIX=/usr/local] [DESTDIR=]'
	@echo 'make clean           remove build/'

# The first build leaves out the tests, whose packages may be missing.
run:
	@scripts/setup build
	@scripts/build release $(if $(wildcard build/release/build.ninja),, \
		-DPEAL_TESTS=OFF) -- examples_demo cmd_peal
	@exec build/release/examples/demo $(ARGS)

test:
	@scripts/setup build test
	@scripts/build release -DPEAL_TESTS=ON
	@ctest --test-dir build/release --output-on-failure --no-tests=error -j2

check:
	@scripts/setup build test check
	@scripts/lint
	@scripts/build asan
	@ctest --preset asan
	@scripts/build tsan
	@ctest --preset tsan
	@scripts/build fuzz
	@ctest --preset fuzz

bench:
	@scripts/setup build bench
	@scripts/build release $(if $(wildcard build/release/build.ninja),, \
		-DPEAL_TESTS=OFF)
	@bench/run $(ARGS)

fuzz:
	@scripts/setup build fuzz
	@scripts/build fuzz
	@scripts/fuzz $(T)

soak:
	@scripts/setup build test
	@scripts/build release -DPEAL_TESTS=ON -- soak
	@build/release/tests/soak $(S)

coverage:
	@scripts/setup build test check
	@scripts/build coverage
	@ctest --preset coverage
	@gcovr --root . --object-directory build/coverage --filter src/

install:
	@scripts/setup build
	@scripts/build release -DCMAKE_INSTALL_PREFIX=$(PREFIX) \
		$(if $(wildcard build/release/build.ninja),,-DPEAL_TESTS=OFF)
	@DESTDIR=$(DESTDIR) cmake --install build/release

clean:
	rm -rf build
