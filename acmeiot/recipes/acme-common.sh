# shellcheck shell=sh disable=SC2154 # the lines above this part set them
# OpenWrt's own client, on another router or access point of this home. Not tested on a real one.
[ -x /etc/init.d/acme ] || {
	echo "install acme-acmesh first" >&2
	exit 1
}
# Its hook believes this bundle only; a new ca-bundle package writes it anew, then run this again.
bundle=${BUNDLE:-/etc/ssl/certs/ca-certificates.crt}
grep -qF "$(sed -n 2p "$root")" "$bundle" || cat "$root" >>"$bundle"
uci batch <<UCI
set acme.acmeiot=cert
set acme.acmeiot.enabled=1
set acme.acmeiot.acme_server=$directory
set acme.acmeiot.validation_method=standalone
set acme.acmeiot.key_type=ec384
delete acme.acmeiot.domains
add_list acme.acmeiot.domains=$name.$domain
add_list acme.acmeiot.domains=$name.local
commit acme
UCI
/etc/init.d/acme restart
echo "certificate and key: /etc/ssl/acme/$name.$domain.fullchain.crt and .key"
