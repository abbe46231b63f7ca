# The words of this project: make demo, make test, make check, make bench, make docs.
# Each sets up what it needs in .venv; nothing has to be installed by hand but Python 3.11 and make.

PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3,$(shell command -v $(name))))
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt $(PIP_ARGS)
NEEDED := Python 3.11 or newer with its venv module is needed (Debian: apt-get install python3-venv); name it with make PYTHON=/path/to/python
COVERAGE := --cov=xwam --cov-report=term:skip-covered

# What `.[robosuite]` asks for without the model stack, which driving a simulator does not need.
ROBOSUITE_VENV := .venv-robosuite
ROBOSUITE_NEEDS := 'robosuite==1.5.2' 'mujoco>=3.3,<3.10' 'numpy<2' 'pandas<3' 'pyarrow<26' h5py av pillow pyyaml wrapt tqdm huggingface-hub pytest

# `make space` shows the demo in a browser; `make test` needs one for the page's own test.
.PHONY: demo space test test-robosuite check bench docs format clean system browser

demo: $(VENV)/demo.stamp system
	$(BIN)/python examples/02_generate_4d.py --output demo_output
	$(BIN)/python examples/04_closed_loop_mujoco.py --output demo_output/closed_loop

space: $(VENV)/space.stamp system
	$(BIN)/python spaces_demo/app.py $(ARGS)

test: $(VENV)/test.stamp system browser
	$(BIN)/python -m pytest $(COVERAGE) $(ARGS)

# The RoboCasa adapter's own code on plain robosuite, in an environment of its own: robosuite needs an older MuJoCo and NumPy.
test-robosuite: $(ROBOSUITE_VENV)/stamp system
	$(ROBOSUITE_VENV)/bin/python -m pytest --confcutdir=tests/envs -m robosuite tests/envs/test_robosuite_world.py $(ARGS)

$(ROBOSUITE_VENV)/stamp: setup.py
	@"$(PYTHON)" -m venv $(ROBOSUITE_VENV)
	$(ROBOSUITE_VENV)/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) $(ROBOSUITE_NEEDS)
	$(ROBOSUITE_VENV)/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) --no-deps --editable .
	@touch $@

check: $(VENV)/test.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy src
	$(MAKE) test

bench: $(VENV)/test.stamp
	$(BIN)/python benchmarks/latency.py --size tiny $(ARGS)

docs: $(VENV)/test.stamp
	$(BIN)/python docs/build.py

format: $(VENV)/test.stamp
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Software OpenGL for MuJoCo: installed where this user may, else named in one line.
system:
	@scripts/install_system_packages.sh opengl

# A browser for the test of the demo's page.
browser:
	@scripts/install_system_packages.sh browser

$(BIN)/python:
	@test -n "$(PYTHON)" && "$(PYTHON)" -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' || { echo "$(NEEDED)"; exit 1; }
	@"$(PYTHON)" -m venv $(VENV) || { rm -rf $(VENV); echo "$(NEEDED)"; exit 1; }

$(VENV)/demo.stamp: setup.py constraints.txt | $(BIN)/python
	$(INSTALL) --editable '.[sim,export]'
	@touch $@

$(VENV)/space.stamp: setup.py constraints.txt | $(BIN)/python
	$(INSTALL) --editable '.[sim,demo,rerun]'
	@touch $@ $(VENV)/demo.stamp

$(VENV)/test.stamp: setup.py constraints.txt | $(BIN)/python
	$(INSTALL) --editable '.[dev,sim,demo,rerun,train]'
	@touch $@ $(VENV)/demo.stamp $(VENV)/space.stamp

clean:
	rm -rf $(VENV) $(ROBOSUITE_VENV) demo_output .pytest_cache .mypy_cache .ruff_cache build dist site
