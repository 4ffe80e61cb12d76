# shellcheck shell=sh disable=SC2154 # the lines above this part set them
# Caddy asks for one certificate a name, which only a server run with --profile compat gives.
conf=${CADDYFILE:-/etc/caddy/Caddyfile}
site=${SITE:-'root * /usr/share/caddy
	file_server'}
[ ! -e "$conf" ] || {
	cp "$conf" "$conf.before-acmeiot"
	echo "the file that was there is now $conf.before-acmeiot"
}
mkdir -p "$(dirname "$conf")"
cat >"$conf" <<CONF
{
	key_type p384
	skip_install_trust
}

$name.$domain, $name.local {
	# Said for these names: else Caddy makes certificates for local ones itself.
	tls {
		issuer acme {
			dir $directory
			trusted_roots $root
			email owner@$name.$domain
		}
	}
	$site
}
CONF
echo "wrote $conf; have Caddy read it: systemctl reload caddy"
