# The contributor's manual: `make` lists the verbs.

PYTHON ?= python3
ARGS ?=
FUZZ_SECONDS ?= 6
RIG_ARCHES ?= aarch64 x86_64

# Where dnsmasq and other peers are; Debian leaves it out for all but root.
export PATH := $(PATH):/usr/local/sbin:/usr/sbin:/sbin

PY := .venv/bin/python
PIP := PYTHONWARNINGS=ignore .venv/bin/python -m pip --quiet --disable-pip-version-check
# What OpenWrt 24.10 ships: the oldest libraries the daemon must run with.
OPENWRT := cryptography==41.0.7 bottle==0.12.25 dnspython==2.4.1
# Tests of the package itself; the other suites start whole programs.
SUITES := interop crash hostile fuzz bench home rig shell
UNIT := tests $(foreach suite,$(SUITES),--ignore=tests/$(suite))
# Of these, what speaks with other programs and hardly with libraries: with the newest only.
ONCE := client/test_command client/test_discovery_on_lan client/test_probe device/test_power_cut \
	lan/test_announce lan/test_dnsmasq openwrt/test_ipk trust/stores/test_debian
ENDS := $(UNIT) $(foreach file,$(ONCE),--ignore=tests/$(file).py)
# More than cores: the tests wait for programs more than they work.
PARALLEL := --numprocesses=4 --dist=loadfile
COVERED := $(foreach room,protocol core,$(if $(wildcard acmeiot/$(room)),--cov=acmeiot.$(room)))

help: ## list the verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: .venv/run-ready ## set up what is needed, then serve in the foreground with state in ./var; ARGS="..." adds options
	@exec .venv/bin/acmeiot serve --state ./var --hints --pairing-window 3600 $(ARGS)

demo: .venv/test-ready ## a whole home in network namespaces: a printer and a laptop join; root or user namespaces
	@tests/apt-install demo
	@$(PY) -m tests.home.demo

check: lint unit ## ruff, mypy, import arrows and unit tests with the newest libraries: run this often

test: peers lint unit unit-openwrt unit-next fuzz interop home rig ## everything that CI runs

lint: .venv/test-ready
	.venv/bin/ruff check .
	.venv/bin/mypy

unit: .venv/test-ready
	$(PY) -m pytest $(PARALLEL) $(UNIT) $(COVERED) $(if $(COVERED),--cov-report=term --cov-fail-under=100)

unit-openwrt: .venv-openwrt/test-ready
	.venv-openwrt/bin/python -m pytest $(PARALLEL) $(ENDS)

unit-next: .venv-next/test-ready
	@if [ -x .venv-next/bin/python ]; then \
		.venv-next/bin/python -m pytest $(PARALLEL) $(ENDS); \
	else \
		echo "NOT RUN on CPython 3.13 or later: $$(cat $<)"; \
	fi

fuzz: .venv/test-ready
	@echo "each of tests/fuzz for $(FUZZ_SECONDS) s, two at a time"
	@printf '%s\n' $(wildcard tests/fuzz/fuzz_*.py) | PYTHONPATH=. xargs -P 2 -I TARGET \
		tests/fuzz/quietly $(PY) TARGET -max_total_time=$(FUZZ_SECONDS) -verbosity=0 -print_final_stats=1

interop: peers .venv/test-ready .venv-certbot/ready
	$(PY) -m pytest $(wildcard tests/crash tests/hostile) tests/interop

home: peers .venv/test-ready .venv-certbot/ready ## whole homes in network namespaces, with DHCP clients, browser and rogues; the scripts under busybox ash
	$(PY) -m pytest $(PARALLEL) tests/home tests/shell

bench: peers .venv/test-ready ## whole issuances beside Caddy and Pebble, in one run; ARGS="--rounds 9" for steadier figures
	@$(PY) -m tests.bench $(ARGS)

package: .venv/test-ready ## both .ipk files into dist/, the same bytes each time
	@$(PY) openwrt/ipk.py --output dist

rig: .venv/test-ready ## install, use, break and remove the package on emulated routers; root; OPENWRT_IMAGE=path for a real one
	@tests/apt-install rig
	@$(PY) -m tests.rig.image $(RIG_ARCHES)
	RIG_ARCHES="$(RIG_ARCHES)" $(PY) -m pytest --numprocesses=2 tests/rig \
		$(if $(OPENWRT_IMAGE)$(OPENWRT_ROOT)$(filter armhf mipsel,$(RIG_ARCHES)),-o faulthandler_timeout=1200) \
		$(ARGS)

peers:
	@tests/apt-install demo test unpack
	@tests/later-debian forky .peers/lego lego
	@tests/later-debian forky .peers/acme.sh acme.sh

clean: ## remove what the verbs made, but not ./var
	rm -rf .venv .venv-* .peers .coverage .fuzz .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist *.egg-info

# Stamps: a verb that has nothing to set up starts at once.

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "acmeiot needs Python 3.11 or later; $(PYTHON) is $$($(PYTHON) -V). Try: make PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || tests/apt-install run
	$(PYTHON) -m venv --clear .venv

.venv/run-ready: setup.py | .venv/bin/python
	$(PIP) install --editable .
	@touch $@

# A pip older than the interpreter it works for would not run there: Debian's is renewed first.
.venv/test-ready: setup.py | .venv/bin/python
	$(PIP) install --upgrade pip
	$(PIP) install --upgrade --upgrade-strategy eager --editable '.[agents,probe,test,check,fuzz]'
	@touch $@ .venv/run-ready

.venv-openwrt/test-ready: setup.py Makefile | .venv/test-ready
	.venv/bin/python -m venv --clear --without-pip .venv-openwrt
	$(PIP) --python .venv-openwrt/bin/python install --editable '.[agents,probe,test]' $(OPENWRT)
	@touch $@

.venv-next/test-ready: setup.py tests/next-python | .venv/test-ready peers
	@rm -rf .venv-next && mkdir .venv-next
	@if next=$$(tests/next-python 2>$@); then \
		$$next -m venv --without-pip .venv-next && \
		$(PIP) --python .venv-next/bin/python install --editable '.[agents,probe,test]'; \
	else cat $@ >&2; fi
	@touch $@

# Its own, so that its pins do not mix with the library ends.
.venv-certbot/ready: Makefile | .venv/test-ready
	.venv/bin/python -m venv --clear --without-pip .venv-certbot
	$(PIP) --python .venv-certbot/bin/python install --upgrade certbot
	@touch $@

.PHONY: help run demo check test lint unit unit-openwrt unit-next fuzz interop home peers package rig clean
.DELETE_ON_ERROR:
