# Two commands are all the set-up: `make demo` and `make test`. Each builds .venv/ from nothing where it is missing.
# A machine without a GPU can spare itself the CUDA libraries:
#   make demo PIP_FLAGS="--extra-index-url https://download.pytorch.org/whl/cpu"

PYTHON ?= python3
PIP_FLAGS ?=
BIN := .venv/bin

.PHONY: demo test docs bench clean

demo: .venv/ready
	$(BIN)/crsdun demo --out demo --overwrite

test: .venv/ready .venv/deepinv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest

docs: .venv/ready
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve --open

bench: .venv/ready
	$(BIN)/crsdun bench --out benchmarks/results.json

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check $(PIP_FLAGS) -c constraints.txt -e ".[dev]"
	touch $@

# Its torchvision must not lie among the other packages: where it does not match the build of PyTorch, it breaks them.
.venv/deepinv/ready: .venv/ready
	rm -rf .venv/deepinv
	$(BIN)/pip install --quiet --disable-pip-version-check $(PIP_FLAGS) -c constraints.txt --target .venv/deepinv --no-deps \
	  deepinv torchvision einops natsort tqdm
	touch $@

clean:
	rm -rf .venv demo site
