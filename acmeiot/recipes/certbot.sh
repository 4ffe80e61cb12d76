# shellcheck shell=sh disable=SC2154 # the lines above this part set them
command -v certbot >/dev/null || {
	echo "install certbot first, for instance: apt-get install certbot" >&2
	exit 1
}
# Its HTTP library takes the root from here, at each renewal too.
export REQUESTS_CA_BUNDLE="$root"
certbot certonly --non-interactive --agree-tos --register-unsafely-without-email \
	--standalone --elliptic-curve secp384r1 --server "$directory" \
	--cert-name "$name" -d "$name.$domain" -d "$name.local"
if [ -d /run/systemd/system ]; then
	mkdir -p /etc/systemd/system/certbot.service.d
	printf '[Service]\nEnvironment=REQUESTS_CA_BUNDLE=%s\n' "$root" \
		>/etc/systemd/system/certbot.service.d/acmeiot.conf
	systemctl daemon-reload
else
	echo "renew with: REQUESTS_CA_BUNDLE=$root certbot renew"
fi
echo "certificate and key: /etc/letsencrypt/live/$name/fullchain.pem and privkey.pem"
