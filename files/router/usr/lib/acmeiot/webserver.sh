# The router's own pages get the server's certificate, and have what they had when it goes. After
# settings.sh.
# shellcheck shell=dash

PAGES_CERT=/etc/uhttpd-acmeiot.crt # of root, outside of the server's directory
PAGES_KEY=/etc/uhttpd-acmeiot.key
NOT_SET=-

part() { # KIND FILE: what a PEM file has of it
	awk -v kind="$1" '
		/^-----BEGIN / && $0 ~ kind { inside = 1 }
		inside { print }
		/^-----END / { inside = 0 }' "$2"
}

# A LuCI page waits for its change to be confirmed, and would not hear of a server that has another
# certificate than a moment ago: the change would be taken back.
is_confirming() {
	[ -n "$(ls /var/run/rpcd/snapshot-files 2>/dev/null)" ]
}

# Give uhttpd the server's certificate, again when it is another.
hand_over() {
	local pem="$STATE/tls/server.pem" given
	[ -x /etc/init.d/uhttpd ] && [ -f "$pem" ] && [ ! -L "$pem" ] || return 0
	given=$(uci -q get uhttpd.main) && [ "$given" = uhttpd ] || return 0
	given=$(uci -q get uhttpd.main.cert)
	if [ "$given" != "$PAGES_CERT" ] && uci -q get acmeiot.main.uhttpd_cert >/dev/null; then
		return 0 # somebody has set another since
	fi
	is_confirming && return 0
	copy_pem "$pem"
	case "$?$given" in
		"1$PAGES_CERT" | 2*) return 0 ;; # they have it, or there is none
	esac
	[ "$given" = "$PAGES_CERT" ] || point_to_ours || return 0
	notice "the router's pages have a certificate of this home"
	restart_pages
	ubus call service event '{"type":"acme.renew","data":{}}' >/dev/null 2>&1
	[ ! -d /etc/hotplug.d/acme ] || ACTION=renewed /sbin/hotplug-call acme
}

# One that the owner has stopped stays so.
restart_pages() {
	! /etc/init.d/uhttpd running || /etc/init.d/uhttpd restart
}

# 0: there is another now, 1: it is the same, 2: it cannot be used. The parts are made in memory:
# flash is written only for another certificate, and never to have half of one where there is no room.
copy_pem() { # FILE
	local made=1 parts=$RUN/pages
	rm -rf "$parts"
	mkdir -p "$RUN" && mkdir -m 0700 "$parts" || return 2
	part 'PRIVATE KEY' "$1" >"$parts/key"
	part CERTIFICATE "$1" >"$parts/cert"
	if ! is_whole "$parts/key" || ! is_whole "$parts/cert"; then
		made=2
	elif ! cmp -s "$parts/key" "$PAGES_KEY" || ! cmp -s "$parts/cert" "$PAGES_CERT"; then
		made=0
		if ! (umask 077 && cat "$parts/key" >"$PAGES_KEY.new" && cat "$parts/cert" >"$PAGES_CERT.new") ||
			! cmp -s "$parts/key" "$PAGES_KEY.new" || ! cmp -s "$parts/cert" "$PAGES_CERT.new" ||
			! mv "$PAGES_KEY.new" "$PAGES_KEY" || ! mv "$PAGES_CERT.new" "$PAGES_CERT"; then
			made=2
			[ -n "$SAID_FULL" ] ||
				complain "$PAGES_CERT cannot be written; the router's pages keep what they have"
			SAID_FULL=1
		fi
		rm -f "$PAGES_KEY.new" "$PAGES_CERT.new"
	fi
	rm -rf "$parts"
	return $made
}

is_whole() { # FILE: some PEM blocks, up to the end of the last
	case "$(tail -n 1 "$1" 2>/dev/null)" in
		'-----END '*-----) ;;
		*) return 1 ;;
	esac
}

# Remember what was set, then set ours. Not beside somebody's changes that wait for their commit.
point_to_ours() {
	local cert key
	[ -z "$(uci -q changes acmeiot)$(uci -q changes uhttpd)" ] || return 1
	cert=$(uci -q get uhttpd.main.cert) || cert=$NOT_SET
	key=$(uci -q get uhttpd.main.key) || key=$NOT_SET
	uci set "acmeiot.main.uhttpd_cert=$cert"
	uci set "acmeiot.main.uhttpd_key=$key"
	uci commit acmeiot || return 1
	uci set "uhttpd.main.cert=$PAGES_CERT"
	uci set "uhttpd.main.key=$PAGES_KEY"
	uci commit uhttpd
}

hand_back() {
	local cert key
	cert=$(uci -q get acmeiot.main.uhttpd_cert) || cert=$NOT_SET
	key=$(uci -q get acmeiot.main.uhttpd_key) || key=$NOT_SET
	if [ "$(uci -q get uhttpd.main.cert)" = "$PAGES_CERT" ]; then
		put_back cert "$cert"
		put_back key "$key"
		uci commit uhttpd
		[ -n "$NO_RESTART" ] || restart_pages
	fi
	rm -f "$PAGES_CERT" "$PAGES_KEY"
	uci -q get acmeiot.main.uhttpd_cert >/dev/null || return 0
	uci -q delete acmeiot.main.uhttpd_cert
	uci -q delete acmeiot.main.uhttpd_key
	uci commit acmeiot
}

put_back() { # OPTION VALUE
	if [ "$2" = "$NOT_SET" ]; then
		uci -q delete "uhttpd.main.$1"
	else
		uci set "uhttpd.main.$1=$2"
	fi
}
