# make run     serves the page; also `make run PORT=9000 DATABASE=app.db`
# make test    lint, types and all tests
# make check   lint and types alone
# make bench   all benchmarks, beside peers and controls, a quarter of an hour;
#              `make bench BENCH='--quick --only latency'` for less
# make screenshots   takes the pictures of the README anew
# make soak    the oracle tests with many more examples, and tests of minutes:
#              `make soak WATCHER_EXAMPLES=20000`

PYTHON ?= python3
VENV ?= .venv
WATCHER_EXAMPLES ?= 5000

PIP = $(VENV)/bin/python -m pip -qq --disable-pip-version-check --no-input
CHECKED = watcher server.py tests benchmarks

# Where it is set each of the many processes of the tests would compile all modules for itself.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := run
.PHONY: run test check bench soak screenshots system

# Only from the command line: HOST and the like are often in the environment for other reasons.
given = $(if $(filter command,$(word 1,$(origin $1))),$($1))
export RUN_DATABASE := $(call given,DATABASE)
export RUN_HOST := $(call given,HOST)
export RUN_PORT := $(call given,PORT)

run: $(VENV)/.runtime
	@set --; \
	[ -z "$$RUN_HOST" ] || set -- "$$@" --host "$$RUN_HOST"; \
	[ -z "$$RUN_PORT" ] || set -- "$$@" --port "$$RUN_PORT"; \
	[ -z "$$RUN_DATABASE" ] || set -- "$$@" -- "$$RUN_DATABASE"; \
	exec $(VENV)/bin/python server.py "$$@"

# More than there are cores on a small machine: most tests wait for other processes.
test: $(VENV)/.development system check
	@$(VENV)/bin/python -m pytest -n 3 --dist loadfile

check: $(VENV)/.development
	@$(VENV)/bin/ruff check --quiet .
	@$(VENV)/bin/ruff format --quiet --check .
	@$(VENV)/bin/mypy --strict $(CHECKED)

bench: $(VENV)/.development system
	@$(VENV)/bin/python -m benchmarks $(call given,BENCH) --readme README.md

soak: $(VENV)/.development
	@WATCHER_EXAMPLES=$(WATCHER_EXAMPLES) $(VENV)/bin/python -m pytest tests/oracle --timeout=0
	@$(VENV)/bin/python -m pytest tests -m soak

screenshots: $(VENV)/.development system
	@$(VENV)/bin/python -m tests.browser.tour docs/images

# sqlite3, a headless chromium and strace, which some tests need and pip cannot bring.
system: $(VENV)/.development
	@$(VENV)/bin/python -m tests.system

# Debian and Ubuntu keep the part of Python that fills a new environment in a package of its own.
$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Python 3.11 or newer is needed; choose one with: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			package=$$($(PYTHON) -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])'); \
			apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
				apt-get install -y -qq --no-install-recommends "$$package" >/dev/null; \
		else \
			echo "Python's venv is missing; on Debian and Ubuntu: apt-get install python3-venv" >&2; \
			exit 1; \
		fi; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/.runtime: requirements.txt | $(VENV)/bin/python
	@$(PIP) install -r requirements.txt
	@touch $@

$(VENV)/.development: requirements-dev.txt requirements.txt | $(VENV)/bin/python
	@$(PIP) install -r requirements-dev.txt
	@touch $@
