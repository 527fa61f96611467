# From a fresh clone: `make bench` measures, `make test` tests, `make check` lints, and
# `make quickstart` shows an audit within a minute, without torch.
PYTHON ?= python3
OUT ?= out/digits
SEEDS ?= 3
# The peer defenses take minutes; `make bench ROWS=` runs them too.
ROWS ?= --defense temperature --defense static --defense dynanoise
BIN := .venv/bin
# Processes of tests: one more than there are cores, because some wait for servers; at most four.
WORKERS = $(shell $(PYTHON) -c "import os; print(min(4, (os.cpu_count() or 1) + 1))")
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

.PHONY: bench quickstart test test-fast check format docs docs-site results benchmarks wheel site lock sbom clean
.DEFAULT_GOAL := bench

bench: .venv/.bench
	$(BIN)/dynanoise bench digits --out "$(OUT)" --seeds $(SEEDS) $(ROWS)

# Needs only the package's own dependencies, a download of 68 MB: no torch.
quickstart: .venv/.base
	$(BIN)/dynanoise quickstart

# One thread for each worker: with more, threads of NumPy's BLAS wait for each other and take several times as long.
test: .venv/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(WORKERS) --max-worker-restart 0 --dist loadfile

# Tests of single functions, within a minute: no process, no server, no command from end to end, and
# not Ray, which takes seconds to import.
test-fast: .venv/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 2 --dist loadfile -m "not process and not behaviour" \
		--ignore tests/training/execution/test_ray_cluster.py --hypothesis-profile fast

check: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m docs.wordlint
	$(BIN)/python -m pytest --doctest-modules --doctest-glob='*.md' src README.md docs

format: .venv/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The results of digits, and the pages made from all results and from --help. Other folders of results are made by the
# commands at the top of their tables in docs/results/, which take hours.
results: .venv/.dev
	$(BIN)/dynanoise bench digits --seeds 20 --protocol paper --protocol adaptive --protocol adaptive_16 \
		--protocol adaptive_chosen --workers 2 --out results/digits
	$(MAKE) docs

docs: .venv/.dev
	$(BIN)/python -m docs.generate

# The documentation as a website in out/docs; a warning is an error.
docs-site: .venv/.dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

# Speed beside others', written to results/benchmarks. Run it when nothing else runs. Left out are those
# that need trained models, or clones of other tools or of an earlier commit (--store, --peers, --before).
STORED := capacity chosen_gateway neighbourhood other_tools out_of_fold
MEASURED := $(filter-out $(STORED),$(patsubst benchmarks/%.py,%,$(wildcard benchmarks/[a-z]*.py)))
benchmarks: .venv/.dev
	@set -e; for name in $(MEASURED); do $(BIN)/python -m "benchmarks.$$name"; done

# Builds the wheel, installs it alone into an empty environment, and tries it there without torch.
wheel: .venv/.dev
	bash tests/try_wheel.sh $(BIN)/python

# The web page as files for any static host; `dynanoise demo` serves the same ones.
site: .venv/.bench
	$(BIN)/dynanoise demo --out out/site

clean:
	rm -rf .venv out dist

# Pins what the gateway's image installs: every package of its extras, and hatchling, which builds the wheel.
LOCK := -m uv pip compile --quiet --universal --python-version 3.13 --generate-hashes --no-build \
	--constraint constraints.txt --no-emit-index-url --no-header --no-annotate
lock: .venv/.dev
	$(PIP) uv
	$(BIN)/python $(LOCK) pyproject.toml --extra serve --extra redis --extra otel --extra onnx --extra fast -o docker/requirements.txt
	echo hatchling | $(BIN)/python $(LOCK) - -o docker/requirements-build.txt

# The software bill of materials of the gateway's image, with SHA-256 digests: out/sbom.cdx.json (CycloneDX), which
# the tool validates against its schema.
sbom: .venv/.dev
	@mkdir -p out
	$(BIN)/cyclonedx-py requirements docker/requirements.txt --pyproject pyproject.toml --validate \
		--output-reproducible --output-file out/sbom.cdx.json

.venv/.base: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(not (3, 11) <= v < (3, 14) and "dynanoise needs Python 3.11 to 3.13, this is %d.%d; try: make PYTHON=python3.12" % v)'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing into .venv (once)"
	$(PIP) --editable .
	@touch $@

.venv/.bench: .venv/.base
	@$(BIN)/python -c 'import torch' 2>/dev/null || echo "Installing torch, which can be gigabytes. A first audit without it: make quickstart"
	$(PIP) --editable '.[train,dp,plot,data,fast]'
	@touch $@

.venv/.dev: .venv/.bench
	@echo "Installing the development tools into .venv (once)"
	$(PIP) --editable '.[train,dp,plot,data,fast,tune,hf,onnx,serve,redis,otel,ray,remote,docs,dev]'
	@touch $@
