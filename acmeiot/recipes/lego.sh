# shellcheck shell=sh disable=SC2154 # the lines above this part set them
command -v lego >/dev/null || {
	echo "install lego first, for instance: apt-get install lego" >&2
	exit 1
}
state=${LEGO_PATH:-/var/lib/lego}
mkdir -p "$state"
cat >"$state/acmeiot" <<RENEW
#!/bin/sh
# lego for the ACME server of this home: acmeiot run, and acmeiot renew as often as you like
set -eu
export LEGO_CA_CERTIFICATES='$root'
exec lego --server '$directory' --path '$state' --accept-tos --email 'owner@$name.$domain' \\
	--key-type ec384 --http --domains '$name.$domain' --domains '$name.local' "\$@"
RENEW
chmod 755 "$state/acmeiot"
"$state/acmeiot" run
if [ -d /etc/cron.daily ]; then
	printf '#!/bin/sh\nexec %s renew --days 10\n' "$state/acmeiot" >/etc/cron.daily/acmeiot-lego
	chmod 755 /etc/cron.daily/acmeiot-lego
else
	echo "renew with: $state/acmeiot renew --days 10"
fi
echo "certificate and key: $state/certificates/$name.$domain.crt and .key"
