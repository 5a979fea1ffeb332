# Every target sets up what it needs in .venv; `make clean` starts over.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
TESTED := $(VENV)/.tested
OFFLINE := HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1
# Where this is set, each process that is started compiles anew all that it imports.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo demo-kafka kafka soak quality schemas test lint types pytest clean help

help:  ## what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

# Most of what torch and Ray bring is never imported; what is, Python compiles then.
PIP := $(BIN)/pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) -e .
	touch $@

$(TESTED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) -e '.[test]'
	touch $(INSTALLED) $@

demo: $(INSTALLED)  ## train on a recorded log, follow the later one, alert on its faults
	$(OFFLINE) $(BIN)/python sample_logs/demo.py

demo-kafka: $(INSTALLED)  ## the same through a real Kafka topic, alerts to an HTTP receiver
	$(OFFLINE) $(BIN)/python sample_logs/demo_kafka.py

kafka:  ## bring the Apache Kafka that the tests run against, into .cache
	$(PYTHON) tests/support/fetch_kafka.py

soak: $(TESTED)  ## break it for hours: ROWS="kill rebalance", SCALE=0.05, SOAK=--allow-missing
	$(OFFLINE) $(BIN)/python tests/soak/soak.py $(ROWS) --scale $(or $(SCALE),1) $(SOAK)

quality: $(TESTED)  ## the model beside simple rules: DATA=/path, SETS="contact adfa", SEEDS=3
	$(OFFLINE) $(BIN)/python tests/bench/quality.py $(SETS) --data $(or $(DATA),data) --seeds $(or $(SEEDS),3)

schemas: $(INSTALLED)  ## write the JSON Schemas of the config files into configs/
	$(BIN)/python -m logmlm.config.schema configs

test: lint types pytest  ## ruff, import contracts, mypy, pytest with coverage

lint: $(TESTED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(TESTED)
	$(BIN)/mypy

# Four at a time, as much of it is waiting; what a file's tests share is made once.
pytest: $(TESTED)
	$(OFFLINE) $(BIN)/python -m pytest -n 4 --dist loadfile --cov --cov-report=term

clean:  ## remove what the targets made
	rm -rf $(VENV) demo-out soak-results.md .coverage* .mypy_cache .ruff_cache .pytest_cache .hypothesis
