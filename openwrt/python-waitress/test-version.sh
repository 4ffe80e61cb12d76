#!/bin/sh
# Run by the feed's continuous integration; waitress-serve tells no version.
[ "$1" = python3-waitress ] || exit 0
ls -d /usr/lib/python3.*/site-packages/waitress-"$2".dist-info
