# make demo: the whole road on stand-in databases.  make test: every check, as CI runs it.
# make check-gpu: downloads what compiles for an H100 (175 MB) and checks the compiled programs.
# make attack: attempts to break it, docs/attacks.md says what came of them.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test check-gpu attack clean

demo: .venv/ready
	$(BIN)/python experiments/loso.py --dataset=synthetic --epochs=20 --learning_rate=3e-4 --out=runs/demo
	$(BIN)/python experiments/loso.py --dataset=synthetic --method=drawn --out=runs/demo-drawn --beside=runs/demo

test: .venv/ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	JAX_NUMPY_RANK_PROMOTION=raise $(BIN)/python -m pytest -n 2 --dist loadfile

check-gpu: .venv/ready
	MJFN_CHECK_GPU=1 JAX_NUMPY_RANK_PROMOTION=raise $(BIN)/python -m pytest -rs tests/test_compile_gpu.py

.venv/ready: pyproject.toml requirements.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

attack: .venv/ready
	PYTHONPATH=tests $(BIN)/python -m attack --out=docs/attacks.md

clean:
	rm -rf .venv runs data
