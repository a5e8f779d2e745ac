# Two commands are all the set-up: `make demo` and `make test`. Each builds .venv/ from nothing where it is missing, and
# brings what it needs: the one what runs and explores, the other what checks, builds the documentation and measures too.
# A machine without a GPU can spare itself the CUDA libraries:
#   make demo PIP_FLAGS="--extra-index-url https://download.pytorch.org/whl/cpu"

PYTHON ?= python3
PIP_FLAGS ?=
BIN := .venv/bin
INSTALL = $(BIN)/pip install --quiet --disable-pip-version-check $(PIP_FLAGS) -c constraints.txt

.PHONY: demo test docs bench clean

demo: .venv/ready
	rm -rf demo
	$(BIN)/crsdun demo --out demo

# A worker for each core, but no more than four, since each may take 2 GB; one that has done its share takes over from
# another. A test by hand runs in one process: .venv/bin/pytest tests/test_house.py
test: .venv/ready-to-develop .venv/deepinv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest --numprocesses auto --maxprocesses 4 --dist worksteal

docs: .venv/ready-to-develop
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve --open

bench: .venv/ready-to-develop
	$(BIN)/crsdun bench --out benchmarks/results.json --overwrite

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(INSTALL) -e ".[app,classes,demo,tiff,video,zarr]"
	touch $@

.venv/ready-to-develop: .venv/ready
	$(INSTALL) -e ".[dev]"
	touch $@

# Its torchvision must not lie among the other packages: where it does not match the build of PyTorch, it breaks them.
.venv/deepinv/ready: .venv/ready-to-develop
	rm -rf .venv/deepinv
	$(INSTALL) --target .venv/deepinv --no-deps \
	  deepinv torchvision einops natsort tqdm
	touch $@

clean:
	rm -rf .venv demo site

# -- for a release -------------------------------------------------------------------------------------------------------

# Everything that a user's installation holds, in the versions that were tested (CycloneDX). It is made anew from the
# locked set in a folder of its own, and belongs beside the wheel, not into the repository: it names this machine's builds.
RELEASED := app,classes,demo,engines,hub,tiff,train,video,zarr

.PHONY: wheel sbom

wheel:
	$(PYTHON) -m venv --clear build/tool
	build/tool/bin/pip install --quiet --disable-pip-version-check "build>=1.2"
	build/tool/bin/python -m build --wheel --outdir dist .

sbom:
	$(PYTHON) -m venv --clear build/released
	build/released/bin/pip install --quiet --disable-pip-version-check $(PIP_FLAGS) -c constraints.txt ".[$(RELEASED)]"
	$(PYTHON) -m venv --clear build/tool
	build/tool/bin/pip install --quiet --disable-pip-version-check cyclonedx-bom==7.5.0
	mkdir -p dist
	build/tool/bin/cyclonedx-py environment build/released/bin/python --output-reproducible --output-format JSON \
	  --output-file dist/crsdun.cdx.json
