# Thin names for tools/dev.py, which does the work and knows the options.
PYTHON ?= python3
TARGETS = setup test lint fix build binary release online bench hosts demo clean all

.DEFAULT_GOAL = test
.PHONY: $(TARGETS) help ci

$(TARGETS):
	$(PYTHON) tools/dev.py $@ $(ARGS)

help:
	@$(PYTHON) tools/dev.py --help

ci:
	.ci/run
