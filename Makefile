# UniBoard. `make help` lists the targets and the variables.
SHELL := /bin/bash
PYTHON ?= python3
VENV ?= .venv
PY := $(VENV)/bin/python

# glibc returns large blocks to the system after every tensor operation, and the page faults when it gets them again
# take longer than the operation. These limits keep the blocks (measured: a quick UniAD step takes about a third less).
export MALLOC_MMAP_THRESHOLD_ ?= 33554432
export MALLOC_TRIM_THRESHOLD_ ?= 4294967296
# Large pages, if the system gives them on request: with two jobs a quick UniAD step takes 2 to 4 % less.
export GLIBC_TUNABLES ?= glibc.malloc.hugetlb=1

# pip installs only files whose hashes a lock file names, and no source archives: building one would execute its code and
# download build tools without hashes.
INSTALL = -m pip install --quiet --require-hashes --only-binary :all:

# Options of `python -m bench run`: the variable DATA_DIR is the option --data-dir.
VARIABLES = DATASET METHODS SETTINGS SEEDS PRESET CATEGORIES ONLY DEVICE JOBS CLUSTER THREADS DATA_DIR ROOT \
	TEXTURES_DIR WEIGHTS WEIGHTS_DIR BACKBONE BACKBONE_PADDING CHECKPOINT CHECKPOINT_CATEGORIES SET RESULTS_DIR \
	CACHE_DIR SITE BANK_DTYPE BANK_GIB KEEP MAP_SIZE MASK_THRESHOLD FPR_LIMIT CURVES
# Values reach the commands in the environment, as they were typed: make and the shell take no character of them as code.
TYPED = $(VARIABLES) STEPS BATCH_SIZE PRECISION STUDY FORMAT ROWS YES DRY_RUN ARGS
override BATCH_SIZE := $(value BATCH)
$(foreach variable,$(TYPED),$(if $(value $(variable)),$(eval override $(variable) := $$(value $(variable)))))
export $(TYPED)
option_name = $(shell echo $(1) | tr A-Z_ a-z-)
options = $(foreach variable,$(1),$(if $($(variable)),--$(call option_name,$(variable)) "$$$(variable)"))
OPTIONS = $(call options,$(VARIABLES)) $(ARGS)
DRY = $(if $(filter-out 0 no,$(DRY_RUN)),--dry-run)

.DEFAULT_GOAL := help
.PHONY: help setup data bench dry-run shortcut ablation ablations rescore report table list verify test test-long perf scaling lint lock audit format contact-sheet clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16
	@echo 'Variables: $(VARIABLES) ARGS; of shortcut also STEPS BATCH PRECISION, of data YES' | fold -sw 120 | sed '2,$$s/^/           /'
	@echo '           DRY_RUN=1 before bench, shortcut or ablation only lists what would run'
	@echo 'Example:   make bench DATASET=visa METHODS=uniad,padim SEEDS=5 PRESET=paper SET=uniad.neighbour_size=5'

$(VENV)/installed: requirements.lock
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "UniBoard needs Python 3.11 or newer: make setup PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(PY) $(INSTALL) --requirement requirements.lock
	touch $@

setup: $(VENV)/installed ## Create the environment only

data: setup ## Download and verify DATASET; dtd: textures for DRAEM (YES=1 agrees to the licence)
	$(PY) -m bench data $(if $(DATASET),"$$DATASET",$(error name the dataset: make data DATASET=visa, see `make list`)) $(call options,DATA_DIR ROOT) \
		$(if $(filter-out 0 no,$(YES)),--yes)

bench: setup ## Run the benchmark and render the page
	$(PY) -m bench run $(DRY) $(OPTIONS)

dry-run: setup ## List what would run, what is already recorded, and how long it will take
	$(PY) -m bench run --dry-run $(OPTIONS)

shortcut: setup ## Train plain networks and UniAD with no, one, all queries, with learning curves (STEPS, BATCH, PRECISION)
	$(PY) -m bench shortcut $(DRY) $(OPTIONS) $(call options,STEPS BATCH_SIZE PRECISION)

ablation: setup ## Run ablation studies: STUDY=uniad-query, several with commas, a file of your own, or all
	$(PY) -m bench ablation --study "$$STUDY" $(DRY) $(OPTIONS)

ablations: STUDY = all
ablations: ablation ## Run all ablation studies

rescore: setup ## Score kept detectors under other test-time options, without training
	$(PY) -m bench rescore $(OPTIONS)

report: setup ## Render the page from the records alone
	$(PY) -m bench report $(call options,RESULTS_DIR SITE) $(ARGS)

table: setup ## Print the tables (FORMAT=csv|md|latex|parquet)
	@$(PY) -m bench table --format "$${FORMAT:-md}" $(call options,RESULTS_DIR)

list: setup ## List datasets and methods
	$(PY) -m bench list

verify: setup ## Check DATASET (also dtd): counts, masks, files that are not read or can't be decoded
	$(PY) -m bench verify "$${DATASET:-synthetic}" $(call options,DATA_DIR ROOT MASK_THRESHOLD)

test: setup ## Run the test suite
	OMP_NUM_THREADS=1 $(PY) -m pytest --quiet --numprocesses=2 --dist=worksteal --durations=10 $(ARGS)

test-long: setup ## Run trainings that show that every baseline learns (about an hour and a half on two cores)
	OMP_NUM_THREADS=1 $(PY) -m pytest --quiet --numprocesses=2 -m long --timeout=1800 --durations=0 $(ARGS)

PERF_VENV ?= .cache/perf-venv
# This environment sees the packages of the project's environment through a .pth file, after its own packages, so that
# torch is installed only once.
$(PERF_VENV)/installed: $(VENV)/installed tests/performance/peers.lock
	$(PY) -m venv $(PERF_VENV)
	$(PERF_VENV)/bin/python $(INSTALL) --no-deps --requirement tests/performance/peers.lock
	$(PY) -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > \
		"$$($(PERF_VENV)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/project.pth"
	touch $@

# Without large pages: they speed up the larger arrays of the other libraries more than ours, and those run as installed.
perf: export GLIBC_TUNABLES =
perf: $(PERF_VENV)/installed ## Measure time and memory against other libraries, into docs/performance.md (ROWS="coreset padim", default all)
	$(PERF_VENV)/bin/python -m tests.performance $$ROWS $(ARGS)

scaling: setup ## Measure time, memory and disk by number of categories, into docs/performance.md (ARGS="--most 8")
	$(PY) -m tests.performance.scaling $(ARGS)

lint: setup ## Run ruff and mypy
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

# uv and pip-audit have an environment of their own, because no code of the project needs them.
TOOLS_VENV ?= .venv-tools
$(TOOLS_VENV)/installed: tools.lock
	$(PYTHON) -m venv $(TOOLS_VENV)
	$(TOOLS_VENV)/bin/python $(INSTALL) --requirement tools.lock
	touch $@

# uv keeps the versions that a lock file has, where they still fit, and writes the hashes of all files of a version: of every
# system and every Python from 3.11.
LOCK = $(TOOLS_VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--custom-compile-command "make lock"

lock: $(TOOLS_VENV)/installed ## Write the lock files after a change of pyproject.toml (needs the network; ARGS=--upgrade: newest versions)
	$(LOCK) --all-extras pyproject.toml --output-file requirements.lock $(ARGS) > /dev/null
	$(LOCK) --group tools --output-file tools.lock $(ARGS) > /dev/null
	$(LOCK) --group peers --no-deps --output-file tests/performance/peers.lock $(ARGS) > /dev/null

# --no-deps takes the versions of the lock file as they are; --disable-pip installs none of them.
audit: $(TOOLS_VENV)/installed ## Look up known vulnerabilities of the pinned packages (needs the network)
	$(TOOLS_VENV)/bin/pip-audit --strict --requirement requirements.lock --no-deps --disable-pip --desc on

format: setup ## Let ruff format the code
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .

contact-sheet: setup ## Draw docs/synthetic_contact_sheet.png
	$(PY) -m datasets.synthetic_parts.contact_sheet docs/synthetic_contact_sheet.png

clean: ## Delete the environment, stored features and the site; records and data stay
	rm -rf $(VENV) $(TOOLS_VENV) .cache reports/site
