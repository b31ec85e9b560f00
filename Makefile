# Every target makes .venv itself; nothing else has to be set up.
PYTHON ?= python3
BIN := .venv/bin
RECIPE ?= recipes/demo.yaml
OVERRIDES ?=
OBJECTIVE ?=

.PHONY: demo test faults check bench golden lock clean
.DELETE_ON_ERROR:

# The exact versions of the lock file. Packages of the kit are used from this folder.
.venv/ready: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch .venv/ready

demo: .venv/ready
	$(BIN)/accelerate launch --config_file accelerate_config.yaml -m pretrain $(RECIPE) $(OVERRIDES)

# Side by side on all cores, each test on one.
test: .venv/ready
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n logical --maxprocesses 8

# The long part: real runs killed, starved and damaged, two side by side, and all tables of layouts; what was tried goes to
# runs/faults. OBJECTIVE=mlm_nsp hurts the runs of one objective only.
faults: .venv/ready
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/faults $(if $(OBJECTIVE),--objective $(OBJECTIVE),tests/test_layouts.py) -m long -n 2 --dist worksteal --record runs/faults

check: .venv/ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: .venv/ready
	$(BIN)/python -m benchmarks.training_speed
	$(BIN)/python -m benchmarks.replaced_token_speed
	$(BIN)/python -m benchmarks.preparing
	$(BIN)/python -m benchmarks.masking_speed
	$(BIN)/python -m benchmarks.saving

# Rewrites the golden curves; the change that explains the difference shows it.
golden: .venv/ready
	$(BIN)/python -m tests.golden

# The lock file from the bounds of pyproject.toml, in a fresh environment.
lock:
	rm -rf .venv-lock && $(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python -m pip install --quiet "setuptools>=77" wheel torch==2.13.0
	.venv-lock/bin/python -m pip install --quiet --no-build-isolation ".[dev]"
	.venv-lock/bin/python -m pip freeze --all --exclude pip --exclude clozekit | sed 's/+cpu$$//' > requirements.lock
	rm -rf .venv-lock

clean:
	rm -rf .venv .venv-lock cache runs
