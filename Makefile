# make docs         the pages of this version, in docs/_build/html
# make site         the same next to those of other versions, in docs/_build/site/VERSION, with a list of all
# make dist         wheel and source archive, in dist/

PYTHON ?= $(if $(wildcard .venv/bin/python),.venv/bin/python,python3)
BUILD ?= docs/_build/html
SITE ?= docs/_build/site

.PHONY: docs site dist

docs:
	$(PYTHON) -m sphinx -W --keep-going -q -b html docs $(BUILD)

site:
	$(PYTHON) docs/site.py $(SITE)

dist:
	$(PYTHON) -m build
