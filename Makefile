# make demo and make test do all their own set-up; `make` alone lists the targets.

PYTHON ?= python3
# What `make test` installs as PyTorch. The wheel for Linux brings CUDA (several GB); a CPU build already on the machine or
# in a configured index is taken as it is. Your own choice: make test TORCH=torch, or TORCH="torch --index-url ...".
TORCH ?= torch==2.13.0
# Parallel test processes.
JOBS ?= $(shell n=$$(nproc 2>/dev/null || echo 2); [ $$n -gt 8 ] && echo 8 || echo $$n)
# Whom the demo looks for.
TEXT ?= man in red
# More arguments for pytest: make test ARGS="-x -k letterbox".
ARGS ?=

VENV := .venv
DEMO_VENV := .venv-demo
BIN := $(VENV)/bin
PACKAGING := pyproject.toml setup.py tools/setup_venv.sh
SOURCES := $(shell find humar_edge export calibration runtime demos -type f -not -name '*.pyc')

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help demo test dev lint format types pytest gpu-check native clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

demo: $(DEMO_VENV)/.installed ## Find TEXT="man in red" in the shipped clip; base install, no PyTorch
	@mkdir -p demo-output
	$(DEMO_VENV)/bin/humar-edge run --source humar_edge/assets/demo.mp4 --text "$(TEXT)" \
		--output demo-output/demo.mp4 --jsonl demo-output/demo.jsonl
	@echo
	@echo "Look at demo-output/demo.mp4 (it plays in a browser); demo-output/demo.jsonl has one line per frame."
	@echo 'Somebody else: make demo TEXT="woman in blue". Your camera: $(DEMO_VENV)/bin/humar-edge run --camera 0 --text "..."'

test: lint types pytest ## Linters, types of the built package, all tests that need no GPU

dev: $(VENV)/.installed ## Only set up .venv for development

lint: $(VENV)/.installed ## ruff check and ruff format --check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.installed ## Sort imports, fix what ruff can fix, format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The folders of the repository are one package only when installed, so types are checked on the unpacked wheel, from a
# folder where nothing else can be imported by accident.
types: build/package/.installed ## mypy on the built package
	cd build/package && ../../$(BIN)/mypy --config-file ../../pyproject.toml --cache-dir ../mypy -p humar_edge

# One thread per test process: they share the cores already.
pytest: export OMP_NUM_THREADS ?= 1
pytest: $(VENV)/.installed ## All tests that need no GPU
	$(BIN)/pytest -m "not gpu" -n $(JOBS) --dist worksteal --timeout 900 --durations 10 $(ARGS)

# In your own environment, because TensorRT often comes with the system (Jetson); docs/tensorrt.md.
gpu-check: ## The tests that need an NVIDIA GPU with TensorRT, in the environment that is active
	@$(PYTHON) -c 'import humar_edge, pytest' || { echo "first: pip install -e '.[tensorrt,onnxruntime]' pytest"; exit 2; }
	$(PYTHON) -m pytest -m gpu -rA tests/gpu tests/runtime/csrc/test_build.py $(ARGS)

native: ## Build runtime/csrc with CMake and run its tests
	cmake -S . -B build/native
	cmake --build build/native --parallel
	ctest --test-dir build/native --output-on-failure

clean: ## Remove environments, builds, caches and the demo's output
	rm -rf $(VENV) $(DEMO_VENV) build dist demo-output *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(DEMO_VENV)/.installed: $(PACKAGING)
	@echo "Setting up $(DEMO_VENV): some 600 MB, once"
	@tools/setup_venv.sh $(PYTHON) $(DEMO_VENV) -e .
	@touch $@

$(VENV)/.installed: $(PACKAGING)
	@echo "Setting up $(VENV) with $(TORCH): 3 GB and some minutes, once"
	@tools/setup_venv.sh $(PYTHON) $(VENV) $(TORCH)
	@$(BIN)/python -m pip list --format freeze | grep -i '^torch==' > $(VENV)/constraints.txt
	@tools/setup_venv.sh $(PYTHON) $(VENV) --constraint $(VENV)/constraints.txt -e ".[dev]"
	@touch $@

build/package/.installed: $(VENV)/.installed $(PACKAGING) $(SOURCES)
	@rm -rf build/lib build/package build/wheel
	@$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir build/wheel .
	@$(BIN)/python -m pip install --quiet --no-deps --target build/package build/wheel/humar_edge-*.whl
	@touch $@
