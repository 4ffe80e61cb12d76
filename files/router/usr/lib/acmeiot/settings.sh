# What the owner set in /etc/config/acmeiot, checked.
# Wrong values are told in the log, each by its name, with what would be right.
# shellcheck shell=dash
# shellcheck disable=SC2034 # others read these
# shellcheck disable=SC2018,SC2019 # the tr of OpenWrt's busybox knows no [:upper:]

OWNER=acmeiot # the user
LIBRARY=/usr/lib/acmeiot
RUN=/var/run/acmeiot # of root; below, server/ is the server's
STATE=/etc/acmeiot
CONFIG=$RUN/config.toml
STATUS=$RUN/server/status.json # for LuCI's page
HERALD_PID=/var/run/acmeiot-herald.pid
MAX_ADDRESSES=16

complain() {
	[ -n "$QUIET" ] || logger -s -t acmeiot -p daemon.err "$*"
	WRONG=1
}

notice() {
	[ -n "$QUIET" ] || logger -t acmeiot -p daemon.notice "$*"
}

# Sets ENABLED and, where it is 1, all that is written to the server's file. 1 for what cannot be.
load_settings() { # [quietly]
	QUIET=$1
	WRONG=
	ENABLED=0
	config_load acmeiot || return 1
	flag ENABLED enabled 0
	text STATE state /etc/acmeiot
	case "$STATE" in
		*/../* | */.. | */./* | *//*) complain "state: $STATE: write it without . and .." ;;
		/?*/?*) ;;
		*) complain "state: '$STATE' is not a directory such as /etc/acmeiot" ;;
	esac
	flag ANNOUNCE announce 1
	flag UHTTPD uhttpd 1
	if [ "$ENABLED" != 1 ]; then
		[ -z "$WRONG" ]
		return
	fi
	flag VERBOSE verbose 0
	choice APPROVAL approval ask auto
	choice PROFILE profile strict compat
	number PAIRING_WINDOW pairing_window 3600 0 86400
	number LEAF_DAYS leaf_days 30 1 89
	number HTTPS_PORT https_port 8555 1024 65535
	number HTTP_PORT http_port 8556 1024 65535
	number DHCP_NUMBER dhcp_number 0 0 254
	case "$DHCP_NUMBER" in
		0 | 22[4-9] | 23? | 24[0-8] | 25[0134]) ;;
		*) complain "dhcp_number: $DHCP_NUMBER is not 0 or one of 224 to 254 but 249 and 252" ;;
	esac
	[ "$HTTPS_PORT" != "$HTTP_PORT" ] || complain "http_port: $HTTP_PORT is https_port, too"
	load_networks
	load_names
	[ -z "$WRONG" ]
}

# -- values of options

flag() { # VARIABLE OPTION DEFAULT
	local found
	config_get found main "$2" "$3"
	case "$found" in
		1 | on | true | yes | enabled) found=1 ;;
		0 | off | false | no | disabled) found=0 ;;
		*) complain "$2: '$found' is not 0 or 1" && found=0 ;;
	esac
	eval "$1=\$found"
}

choice() { # VARIABLE OPTION WORD...: the first is the default
	local variable="$1" option="$2" found word
	shift 2
	config_get found main "$option" "$1"
	eval "$variable=\$found"
	for word in "$@"; do
		[ "$found" != "$word" ] || return 0
	done
	complain "$option: '$found' is not one of: $*"
}

number() { # VARIABLE OPTION DEFAULT LEAST MOST
	local found
	config_get found main "$2" "$3"
	case "$found" in
		'' | *[!0-9]* | ??????* | 0?*) complain "$2: '$found' is not a number from $4 to $5" && found=$3 ;;
	esac
	if [ "$found" -lt "$4" ] || [ "$found" -gt "$5" ]; then
		complain "$2: $found is not $4 to $5"
	fi
	eval "$1=\$found"
}

text() { # VARIABLE OPTION DEFAULT
	local found
	config_get found main "$2" "$3"
	case "$found" in
		*[[:cntrl:]]*) complain "$2: no line breaks and the like" && found=$3 ;;
	esac
	eval "$1=\$found"
}

# -- what the router knows

# Sets NETWORKS, DEVICES and ADDRESSES: those of this home only, so that nobody else is served.
load_networks() {
	local network found given
	# shellcheck source=/dev/null
	. "$IPKG_INSTROOT/lib/functions/network.sh"
	network_flush_cache
	NETWORKS='' DEVICES='' ADDRESSES=''
	config_get given main network lan
	set -f # no patterns
	for network in $given; do
		case "$network" in
			*[!A-Za-z0-9_-]*) complain "network: '$network' is not a network's name" && continue ;;
		esac
		if ! uci -q get "network.$network" >/dev/null; then
			complain "network: there is no network $network"
			continue
		fi
		NETWORKS="$NETWORKS $network"
		! network_get_device found "$network" || DEVICES="$DEVICES $found"
		! network_get_ipaddrs found "$network" || ADDRESSES="$ADDRESSES $found"
		! network_get_ipaddrs6 found "$network" || ADDRESSES="$ADDRESSES $(only_local "$found")"
	done
	set +f
	# shellcheck disable=SC2086
	ADDRESSES=$(printf '%s\n' $ADDRESSES | awk '!seen[$0]++' | head -n $MAX_ADDRESSES | xargs)
	[ -n "$WRONG" ] || [ -n "$ADDRESSES" ] ||
		complain "network:$NETWORKS has no address yet; starting when it has"
}

# Of IPv6 the addresses that mean this home wherever it is connected to.
only_local() {
	local address
	for address in $1; do
		case "$address" in
			[fF][cCdD]*) echo "$address" ;;
		esac
	done
}

# Sets LABEL and DOMAINS: the server's names are the one in the other, and in .local.
load_names() {
	local domain given
	config_get LABEL main label ''
	if [ -z "$LABEL" ]; then
		LABEL=$(uci -q get system.@system[0].hostname | tr A-Z a-z)
		is_label "$LABEL" && [ "$LABEL" != localhost ] || LABEL=router
	elif ! is_label "$LABEL"; then
		complain "label: '$LABEL' is not one word of letters, digits and hyphens"
	fi
	DOMAINS=
	config_get given main domain ''
	[ -n "$given" ] || given=$(uci -q get dhcp.@dnsmasq[0].domain) || given=lan
	set -f
	for domain in $given; do
		domain=$(echo "${domain#.}" | tr A-Z a-z)
		case "$domain" in
			local) ;; # always there
			*[!a-z0-9.-]* | '' | .* | -* | *..* | *.-* | *-.* | *- | *.)
				complain "domain: '$domain' is not the name of a domain"
				;;
			*) DOMAINS="$DOMAINS $domain" ;;
		esac
	done
	set +f
	[ -n "$DOMAINS" ] || DOMAINS=lan
}

is_label() {
	case "$1" in
		'' | -* | *- | *[!a-zA-Z0-9-]*) return 1 ;;
	esac
	[ "${#1}" -le 63 ]
}
