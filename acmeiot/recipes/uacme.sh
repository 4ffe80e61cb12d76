# shellcheck shell=sh disable=SC2154 # the lines above this part set them
command -v uacme >/dev/null || {
	echo "install uacme first, for instance: apt-get install uacme" >&2
	exit 1
}
# It believes only what the system believes, so the root goes there. It can vouch for local names
# and private addresses only.
if command -v update-ca-certificates >/dev/null; then
	mkdir -p /usr/local/share/ca-certificates
	cp "$root" /usr/local/share/ca-certificates/acmeiot-root.crt
	update-ca-certificates >/dev/null
else
	echo "put $root into this system's store of roots first" >&2
	exit 1
fi
state=${UACME_PATH:-/etc/ssl/uacme}
www=${WWW:-/var/www/html}/.well-known/acme-challenge # where this device's web server reads
mkdir -p "$www" "$state"
cat >"$state/acmeiot-hook" <<'HOOK'
#!/bin/sh
# usage: METHOD TYPE IDENTIFIER TOKEN AUTHORIZATION
[ "$2" = http-01 ] || exit 1
case $1 in
	begin) printf %s "$5" >"$WWW_CHALLENGE/$4" ;;
	done | failed) rm -f "$WWW_CHALLENGE/$4" ;;
	*) exit 1 ;;
esac
HOOK
cat >"$state/acmeiot" <<RENEW
#!/bin/sh
# uacme for the ACME server of this home; run it daily: it renews ten days before the end
export WWW_CHALLENGE='$www'
exec uacme -c '$state' -a '$directory' -h '$state/acmeiot-hook' -d 10 -t EC -b 384 "\$@" \\
	issue '$name.$domain' '$name.local'
RENEW
chmod 755 "$state/acmeiot-hook" "$state/acmeiot"
[ -e "$state/private/key.pem" ] || uacme -c "$state" -a "$directory" -y -t EC new
"$state/acmeiot" || [ $? = 1 ] # 1: nothing to renew yet
if [ -d /etc/cron.daily ]; then
	ln -sf "$state/acmeiot" /etc/cron.daily/acmeiot-uacme
else
	echo "renew with: $state/acmeiot"
fi
echo "certificate and key: $state/$name.$domain/cert.pem and $state/private/$name.$domain/key.pem"
