#!/bin/sh
# $1: a package of this Makefile, $2: its version
[ "$1" = acmeiot ] || exit 0
acmeiot --version | grep -F "$2"
