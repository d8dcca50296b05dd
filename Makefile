# Sets up .venv when it is needed and runs the project's commands in it.
#
#   make demo    create the example models, convert and verify them, and print the summary
#   make test    lint, types, layers, images and npm packages for the tests, tests
#   make nightly      the tests that take minutes, and new examples for those that draw them
#   make coverage     the unit tests' coverage of branches, which is whole where conversions are judged
#   make test-wheel   tests of the built wheel, without this tree's package
#   make test-lowest  tests with the lowest versions that pyproject.toml allows
#   make lint    the first three
#   make docs    update the generated parts of the documentation, and build it into site/
#   make bench   compare with manual alternatives; writes benchmarks/results.md and engines.md
#   make gpu-self-test   on a machine with a GPU: run every conversion of the examples, and `pytest -m gpu`
#   make clean   remove generated files, except .venv
#
# The environment is made by Python 3.11, 3.12 or 3.13, or by PYTHON=/path/to/python.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help demo test pytest images peers nightly coverage test-wheel test-lowest lint docs bench gpu-self-test clean

PYTHON ?=
BIN := .venv/bin
READY := .venv/.ready
PIP := $(BIN)/python -m pip install -qq --no-input --disable-pip-version-check --progress-bar off
export PYTHONUNBUFFERED := 1

help:
	@sed -n 's/^#   //p' Makefile

demo: $(READY)
	@$(BIN)/python examples/make_models.py
	echo
	$(BIN)/model-navigator convert --config-path examples/navigator.yaml --override-workspace

# One after the other, also with `make -j`.
TESTS ?=
test: lint images peers
	@$(MAKE) --no-print-directory pytest

pytest: $(READY)
	@$(BIN)/python -m pytest -n auto $(TESTS)

# Apart from the tests, since the first time takes minutes. Without Docker the tests that need it are skipped, or fail
# if NAVIGATOR_REQUIRE_DOCKER is 1.
IMAGES ?= slim full framework
images: $(READY)
	@log=$$(mktemp)
	$(BIN)/python tests/support/images.py $(IMAGES) 2>"$$log" || { code=$$?; cat "$$log"; [ $$code = 77 ] || exit 1; }
	rm "$$log"
	echo "images: $$SECONDS s"

# The same for the counterparts of the action; without npm the tests that need them are skipped.
peers: $(READY)
	@$(BIN)/python tests/support/peers.py
	echo "npm packages: $$SECONDS s"

nightly: $(READY)
	@$(BIN)/python -m pytest -n auto -m "nightly or hypothesis" --hypothesis-profile nightly --timeout 3600

JUDGES := navigator/changes/*,navigator/plan/*,navigator/report/*,navigator/verify/*
coverage: $(READY)
	@$(BIN)/python -m pytest -n auto --cov --cov-report= tests/unit
	$(BIN)/coverage report --sort=cover
	$(BIN)/coverage report --include "$(JUDGES)" --fail-under 100 --show-missing

# The tests are copied, so that they find no other `navigator` than the installed one.
test-wheel: $(READY)
	@rm -rf build/wheel
	mkdir -p build/wheel/tree
	$(BIN)/python -m hatchling build -t wheel -d build/wheel
	$(BIN)/python -m venv --without-pip build/wheel/venv
	python=$$PWD/build/wheel/venv/bin/python
	packages=$$($$python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
	$(BIN)/python -m pip --python $$python install -qq --no-deps --no-index build/wheel/*.whl
	$(BIN)/python -c 'import sys; print(*(each for each in sys.path if each.endswith("site-packages")), sep="\n")' \
	    > $$packages/dependencies.pth
	git ls-files -z | grep -zv ^navigator/ | tar -c --null -T - | tar -x -C build/wheel/tree
	cd build/wheel/tree
	$$python -c 'import navigator; assert "/build/wheel/venv/" in navigator.__file__, navigator.__file__'
	# Not those that copy, build or read the package's source in this tree.
	ignored=$$(printf -- '--ignore %s ' tests/unit/test_{package,recipe,source}.py tests/run/test_containers.py)
	$$python -m pytest -n auto tests/unit tests/run $$ignored \
	    --deselect tests/unit/test_availability.py::test_nobody_is_told_to_install_what_nobody_published

test-lowest: $(READY)
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python build/lowest
	VIRTUAL_ENV=build/lowest $(BIN)/uv pip install --quiet --resolution lowest-direct --editable \
	    '.[onnx,torch,tensorflow,tensorrt-rtx]' --group test
	# Two need contributors' tools, which have no lowest versions.
	build/lowest/bin/python -m pytest -n auto tests/unit --ignore tests/unit/test_package.py \
	    --deselect tests/unit/test_action_inputs.py::test_the_action_is_valid \
	    tests/conversion/test_onnx.py tests/conversion/test_torchscript.py tests/conversion/test_torch_export.py \
	    tests/conversion/test_tf_savedmodel.py

lint: $(READY)
	@$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/prose.py

docs: $(READY)
	@$(BIN)/python tools/reference.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	echo "open site/index.html"

bench: $(READY)
	@$(BIN)/python examples/make_models.py
	$(BIN)/python benchmarks/run.py
	$(BIN)/python benchmarks/engines.py

# In .venv ONNX Runtime's CPU build makes way for the one with CUDA: they are one module under two names. The examples
# have no real inputs, without which int8 is unverified at best; a mismatch fails all the same.
FORMATS ?= tf-savedmodel torchscript torch-export onnx trt trt-rtx torch-trt tf-trt
PRECISIONS ?= int8 fp16 fp32
gpu-self-test: $(READY)
	@nvidia-smi >/dev/null || { echo "gpu-self-test: nvidia-smi finds no GPU here" >&2; exit 1; }
	echo "set-up: ONNX Runtime with CUDA, TensorRT, Torch-TensorRT"
	$(BIN)/python -m pip uninstall -qq --yes onnxruntime
	$(PIP) --requirement requirements-gpu.txt
	$(BIN)/python examples/make_models.py
	failed=0
	$(BIN)/python -m pytest -m gpu -s || failed=1
	$(BIN)/model-navigator convert --config-path examples/navigator.yaml --override-workspace \
	    --target-formats $(FORMATS) --tensorrt-precisions $(PRECISIONS) --tensorrt-precisions-mode mixed \
	    --no-fail-on-unverified || failed=1
	touch --date=@0 $(READY)
	exit $$failed

clean:
	rm -rf build dist site navigator_workspace examples/models examples/navigator_workspace examples/.cache \
	    .coverage .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis tests/action/peers/node_modules

# Frameworks first and one by one: they are most of the time, and a failure then names the one.
$(READY): pyproject.toml requirements-dev.txt
	@say() { echo "set-up: $$*"; }
	stop() { echo "set-up: $$*" >&2; exit 1; }
	fits='import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))'
	python=
	for each in $(or $(PYTHON),python3.11 python3.12 python3.13 python3); do
	    if "$$each" -c "$$fits" 2>/dev/null; then python=$$each; break; fi
	done
	[ -n "$$python" ] || stop "no Python 3.11, 3.12 or 3.13 found (TensorFlow 2.21 knows no newer one);" \
	    "install one, for example with 'apt-get install python3 python3-venv', or say PYTHON=/path/to/python"
	if ! "$$python" -c 'import ensurepip, venv' 2>/dev/null; then
	    package=$$("$$python" -c 'import sys; print("python{}.{}-venv".format(*sys.version_info))')
	    [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
	        || stop "this Python cannot make environments; run 'sudo apt-get install $$package', then this again"
	    say "installing $$package"
	    apt-get update -qq
	    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$$package" >/dev/null
	fi
	present='import importlib.util as u, sys; sys.exit(not (u.find_spec("torch") and u.find_spec("tensorflow")))'
	if ! $(BIN)/python -c "$$present" 2>/dev/null; then
	    # PyPI's PyTorch is the one with CUDA: 7.3 GB in .venv, and what pip keeps of the downloads.
	    settings=$$(env | grep ^PIP_ || true; "$$python" -m pip config list 2>/dev/null || true)
	    case "$$settings" in */whl/cpu*) need=5 ;; *) need=11 ;; esac
	    free=$$(df -Pk . | awk 'NR == 2 { print int($$4 / 1e6) }')
	    [ "$$free" -ge "$$need" ] || stop "the environment takes up to $$need GB of disk, and $$free GB are free here;" \
	        "free some, or leave CUDA out: PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make demo (5 GB)"
	    say "$$("$$python" --version) makes .venv; it needs up to $$need GB of disk; free here: $$free GB"
	fi
	if ! $(BIN)/python -m pip --version >/dev/null 2>&1; then
	    "$$python" -m venv --clear .venv
	fi
	for framework in torch tensorflow; do
	    pin=$$(grep "^$$framework==" requirements-dev.txt)
	    say "$$pin"
	    $(PIP) --constraint requirements-dev.txt "$$pin"
	done
	say "ONNX tools, linters and test tools"
	$(PIP) --requirement requirements-dev.txt
	say "model-navigator itself"
	$(PIP) --no-deps --no-build-isolation --editable .
	touch $@
	say "done in $$SECONDS s, .venv has $$(du -sh .venv | cut -f1)"
	echo
