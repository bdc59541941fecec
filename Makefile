# Every check of CI is a target here. `make help` lists them.
#
# Variables: PYTHON (the interpreter that makes .venv), JOBS (compilers at once),
# T (only the C test programs whose name contains it: make ctest T=base_map),
# PYTEST_ARGS (more arguments for pytest), CHAOS_ARGS (for the chaos run).

VENV = .venv
PY = $(VENV)/bin/python
PKG_CONFIG ?= pkg-config
JOBS ?= $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
SUBMAKE = $(MAKE) --no-print-directory

export VENV PKG_CONFIG
export CTUNE_JOBS = $(JOBS)

.PHONY: help demo setup setup-test setup-test-all setup-lint test test-all test-slow ctest \
	ctest-programs pytest bench chaos fuzz fuzz-programs asan lint lint-c lint-format lint-python lint-types lint-rules format clean

help: ## This list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' Makefile | \
		awk -F '|' '{ printf "  make %-12s %s\n", $$1, $$2 }'

# --- run ---------------------------------------------------------------------------------

demo: setup ## Set up what is missing, then tune 64 configurations on the digits data
	@$(PY) examples/digits.py

setup: ## Only set up: system packages, .venv, the built extension
	@sh tools/setup.sh demo

setup-test:
	@sh tools/setup.sh test

setup-test-all:
	@sh tools/setup.sh test-all

setup-lint:
	@sh tools/setup.sh lint

bench: setup ## Measure beside the reference, in an environment made for it
	@$(PY) benchmarks/run.py

# --- tests -------------------------------------------------------------------------------

# The tests of a file stay together: they may share a fixture.
PYTEST_JOBS = -n $(JOBS) --dist loadfile

# Both suites run, whatever the first one says; the two summaries stand at the end.
test: setup-test ## C unit tests under sanitizers, then pytest without its slow tests
	@st=0; $(SUBMAKE) ctest || st=1; \
	$(PY) -m pytest -m "not slow" $(PYTEST_JOBS) $(PYTEST_ARGS) || st=1; \
	cat build/ctest/summary; exit $$st

test-all: setup-test-all ## The same with the slow tests
	@st=0; $(SUBMAKE) ctest || st=1; \
	$(PY) -m pytest $(PYTEST_JOBS) $(PYTEST_ARGS) || st=1; \
	cat build/ctest/summary; exit $$st

test-slow: setup-test ## Only the slow ones that need no library of test-all
	@$(PY) -m pytest -m slow $(PYTEST_JOBS) $(PYTEST_ARGS)

pytest: setup-test ## Only the Python tests
	@$(PY) -m pytest -m "not slow" $(PYTEST_ARGS)

# The C tests: the whole engine as one archive, and one program per test file.
CTEST = build/ctest
VERSION := $(shell sed -n 's/^__version__ = "\(.*\)"$$/\1/p' python/ctune/_version.py)
ENGINE_SRC := $(shell find csrc/engine -name '*.c' | sort)
ENGINE_OBJ := $(ENGINE_SRC:csrc/engine/%.c=$(CTEST)/engine/%.o)
TEST_SRC := $(sort $(wildcard tests/engine/test_*$(T)*.c))
TEST_BIN := $(TEST_SRC:tests/engine/%.c=$(CTEST)/%)

SANITIZE = -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
WARN = -Wall -Wextra -Wpedantic -Wshadow -Wconversion
CTEST_CFLAGS = -std=c11 -D_GNU_SOURCE -DCT_TESTING -DCT_VERSION='"$(VERSION)"' -O1 -g -pthread \
	$(SANITIZE) -Icsrc/engine -Itests/engine
CJSON_CFLAGS := $(shell $(PKG_CONFIG) --cflags libcjson 2>/dev/null)
CTEST_LIBS = $(shell $(PKG_CONFIG) --libs libcjson cmocka) -lm

ctest: ## Only the C tests; T=word picks programs by name
	@mkdir -p $(CTEST) && rm -f $(CTEST)/summary
	@$(SUBMAKE) -j$(JOBS) ctest-programs
	@sh tools/run_ctests.sh $(TEST_BIN)

ctest-programs: $(TEST_BIN)

$(CTEST)/engine/%.o: csrc/engine/%.c Makefile
	@mkdir -p $(@D)
	@$(CC) $(CTEST_CFLAGS) $(WARN) $(CJSON_CFLAGS) -MMD -MP -c -o $@ $<

$(CTEST)/libengine.a: $(ENGINE_OBJ)
	@rm -f $@
	@$(AR) rcs $@ $(ENGINE_OBJ)

$(CTEST)/test_%: tests/engine/test_%.c $(CTEST)/libengine.a Makefile
	@$(CC) $(CTEST_CFLAGS) -Wall -Wextra $(CJSON_CFLAGS) $(shell $(PKG_CONFIG) --cflags cmocka) \
		-MMD -MP -MF $@.d -MT $@ -o $@ $< $(CTEST)/libengine.a $(CTEST_LIBS)

# Each fuzz target with its own seeds and a fixed stream of mutations.
FUZZ_BIN := $(patsubst tests/fuzz/%.c,$(CTEST)/%,$(wildcard tests/fuzz/fuzz_*$(T)*.c))
FUZZ_N ?= 20000
FUZZ_SEED ?= 1

fuzz: ## Readers under mutated input; T=word picks targets, FUZZ_N=how many inputs
	@mkdir -p $(CTEST)
	@$(SUBMAKE) -j$(JOBS) fuzz-programs
	@for one in $(FUZZ_BIN); do echo "$$one -n $(FUZZ_N) -s $(FUZZ_SEED)" && \
		$$one -n $(FUZZ_N) -s $(FUZZ_SEED) || exit 1; done

fuzz-programs: $(FUZZ_BIN)

$(CTEST)/fuzz_%: tests/fuzz/fuzz_%.c tests/fuzz/driver.c $(CTEST)/libengine.a Makefile
	@$(CC) $(CTEST_CFLAGS) -Wall -Wextra $(CJSON_CFLAGS) -Itests/fuzz -MMD -MP -MF $@.d \
		-MT $@ -o $@ $< tests/fuzz/driver.c $(CTEST)/libengine.a \
		$(shell $(PKG_CONFIG) --libs libcjson) -lm

-include $(ENGINE_OBJ:.o=.d) $(TEST_BIN:=.d) $(FUZZ_BIN:=.d)

# --- checks ------------------------------------------------------------------------------

chaos: setup-test ## Kill runs at random and let them go on: CHAOS_ARGS="--kills 20"
	@$(PY) tests/chaos/chaos.py $(CHAOS_ARGS)

asan: setup-test ## The Python tests that reach C, on an extension built with ASan and UBSan
	@sh tools/asan.sh $(PY) $(PYTEST_JOBS) $(PYTEST_ARGS)

lint: setup-lint ## All static checks
	@$(SUBMAKE) -j$(JOBS) lint-c lint-format lint-python lint-types lint-rules

lint-c: setup-lint
	@sh tools/lint_c.sh $(PY)

C_FILES = $(shell find csrc tests/engine -name '*.[ch]' | sort)

lint-format: setup-lint
	@$(VENV)/bin/clang-format --dry-run -Werror $(C_FILES)

format: setup-lint ## Rewrite the C files as clang-format wants them
	@$(VENV)/bin/clang-format -i $(C_FILES)

lint-python: setup-lint
	@$(VENV)/bin/ruff check --quiet .

lint-types: setup-lint ## mypy --strict on the package
	@$(PY) -m mypy

lint-rules: setup-test
	@$(PY) -m pytest -q tests/lint

clean: ## Remove what was built; .venv stays
	rm -rf build dist python/*.egg-info python/ctune/_ctune.*.so
	rm -f $(VENV)/.ctune/native
