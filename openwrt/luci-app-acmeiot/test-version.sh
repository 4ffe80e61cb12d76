#!/bin/sh
# Run by the feed's continuous integration in a root file system without procd. No program in here
# tells its version: what rpcd starts says which calls it answers.
[ "$1" = luci-app-acmeiot ] || exit 0
/usr/libexec/rpcd/luci.acmeiot list | grep -F '"status"'
