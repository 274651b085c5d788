# Short names for the commands of tools/dev.py; `make test ARGS="-k name"` passes arguments.
PYTHON ?= python3
TARGETS = setup test lint fix build binary release online bench hosts demo clean all

.DEFAULT_GOAL = help
.PHONY: $(TARGETS) help ci

help:
	@$(PYTHON) tools/dev.py --help

$(TARGETS):
	$(PYTHON) tools/dev.py $@ $(ARGS)

ci:
	.ci/run
