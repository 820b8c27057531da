# One command per task; `make help` lists them. Set PYTHON, VENV or QT (pyqt5, pyqt6) to choose.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV ?= .venv
BIN := $(VENV)/bin
DOCS := .venv-docs
QT ?= pyqt5
SCREEN := xvfb-run -a -s "-screen 0 1600x1200x24"
GUI_ENV = QT_API=$(QT) PYTEST_QT_API=$(QT)
GUI_TESTS := tests/widgets

TORCH_INDEX ?= https://download.pytorch.org/whl/cpu

.DEFAULT_GOAL := help
.PHONY: help setup docs demo test test-core test-gui test-pyqt6 lint format wheel bundle bundle-test screenshots benchmarks gpu evidence nuclei nuclei-head faults clean
SPEED := attention click_to_map event_loop export labelled_tiles scribbles segment tile_cache training_step

help:  ## this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "make %-13s %s\n", $$1, $$2}'

setup: $(VENV)/.installed  ## system libraries (as root), virtual environment, napari-sdmae with napari and PyQt5

$(VENV)/.installed: pyproject.toml setup.cfg setup.py .ci/setup
	.ci/setup "$(PYTHON)" "$(VENV)"
	touch $@

demo: setup  ## first pictures within a minute, then the main job on the shipped tissue, in minutes; napari when there is a display
	$(BIN)/sdmae demo --output demo

test: setup test-core test-gui  ## every test; the GUI in real windows under Xvfb with PyQt5

# Two files at a time, one thread each: two threads each would wait for each other. In the order of their names: the demo, a
# file of one long test, would else begin last and run alone.
test-core: setup $(DOCS)/.installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --ignore=$(GUI_TESTS)

# Each of the two processes opens an Xvfb screen of its own (tests/widgets/conftest.py). One thread each, as above.
test-gui: setup
	OMP_NUM_THREADS=1 $(GUI_ENV) $(BIN)/python -m pytest -n 2 --dist loadfile $(GUI_TESTS)

test-pyqt6: setup  ## the GUI tests with PyQt6
	$(BIN)/python -m pip install --quiet "PyQt6>=6.7"
	$(MAKE) test-gui QT=pyqt6

lint: setup  ## ruff, mypy --strict, import-linter, typos
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/typos

format: setup  ## ruff's formatter and safe fixes
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(DOCS)/.installed: docs/requirements.txt
	"$(PYTHON)" -m venv $(DOCS)
	$(DOCS)/bin/python -m pip install -qq --requirement docs/requirements.txt
	touch $@

docs: $(DOCS)/.installed  ## the documentation as a site for the browser, without a network: napari_sdmae/site/index.html
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build --quiet --strict
	find napari_sdmae/site -name '*.map' -delete

wheel: setup docs  ## sdist and wheel in dist/, with the documentation
	$(BIN)/python -m build

bundle: wheel  ## one zip for a machine without internet, in dist/; TORCH_INDEX= takes the registry's PyTorch, with CUDA on Linux
	$(BIN)/python bundle/make_bundle.py "$$(ls -t dist/*.whl | head -1)" --torch-index "$(TORCH_INDEX)"

bundle-test: setup  ## install the bundle without a network and open napari with every dock: dist/bundle.png shows it
	sh bundle/try_bundle.sh "$$(ls -t dist/napari-sdmae-*.zip | head -1)" dist/bundle.png

screenshots: setup  ## the pictures of README and docs, made by the project
	$(GUI_ENV) $(SCREEN) $(BIN)/python docs/make_screenshots.py

benchmarks: setup  ## speed, each as a table and JSON with machine and date in benchmarks/results/
	for script in $(SPEED); do $(GUI_ENV) $(SCREEN) $(BIN)/python benchmarks/$$script.py || exit 1; done

gpu: setup  ## every verb on a real GPU, in minutes: images/s, memory, waits, resume (GPU="--device cpu --small" tries the script)
	$(BIN)/python benchmarks/gpu.py $(GPU)

evidence: setup  ## what self-distillation does to the encoder: hours; DATA=folder with tissue_tiles, nuclei_monuseg, lung_tiles
	$(BIN)/python benchmarks/representation.py --tissue $(DATA)/tissue_tiles --nuclei $(DATA)/nuclei_monuseg --lung $(DATA)/lung_tiles \
		--output runs/evidence

nuclei: setup  ## masks of nuclei against a plain U-Net in the same time: an hour; DATA=folder with nuclei_monuseg
	$(BIN)/python benchmarks/nuclei.py $(DATA)/nuclei_monuseg --core-minutes 20

nuclei-head: setup  ## the head for nuclei that comes with the package, made anew: hours, goes on where it ended; DATA=folder with tissue_tiles, slides, nuclei_monuseg
	$(BIN)/python benchmarks/nuclei_head $(DATA) runs/nuclei-head --ship resources/models/nuclei

faults: setup  ## bad files, kills, full disks, clocks, users, signals: tried, survived, lost; an hour; SHORT=1 SEED=1 EVERY=8 ONLY=kills CASE=name
	PYTHONPATH=tests $(BIN)/python -m faults $(if $(SHORT),--short) --seed $(or $(SEED),0) --every $(or $(EVERY),1) --only "$(ONLY)" --case "$(CASE)"

clean:  ## build products and caches; the virtual environment stays
	rm -rf build dist demo napari_sdmae/site *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
