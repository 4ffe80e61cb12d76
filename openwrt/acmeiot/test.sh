#!/bin/sh
# Run by the feed's continuous integration in a root file system without procd.
[ "$1" = acmeiot ] || exit 0

set -e
acmeiot --version | grep -F "$2"

state=/tmp/acmeiot-test
rm -rf "$state"
acmeiot serve --state "$state" --listen 127.0.0.1:8555 --http-listen 127.0.0.1:8556 \
	--name router.lan >/tmp/acmeiot-test.ready &
server=$!
trap 'kill $server' EXIT
for _ in $(seq 60); do
	grep -q '^ready https://router.lan:8555/acme/directory sha256:' /tmp/acmeiot-test.ready && break
	sleep 1
done
cat /tmp/acmeiot-test.ready
acmeiot status --state "$state" --json | grep -F '"directory"'
