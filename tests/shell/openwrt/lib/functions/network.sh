# A shim of OpenWrt's network functions, over the addresses that the interfaces have. Where there
# is /var/state/network/NETWORK, that says it: lines `device NAME`, `address A` and `address6 A`.
# It is not OpenWrt's.
# shellcheck shell=dash

_network_told() { # NETWORK KEY
	sed -n "s/^$2 //p" "/var/state/network/$1"
}

_network_found() { # VARIABLE VALUES
	# shellcheck disable=SC2086
	set -- "$1" $2
	eval "$1="
	[ $# -gt 1 ] || return 1
	local _name=$1
	shift
	eval "$_name=\"$*\""
}

network_flush_cache() {
	:
}

network_get_device() { # VARIABLE NETWORK
	local _it
	if [ -f "/var/state/network/$2" ]; then
		_it=$(_network_told "$2" device)
	else
		_it=$(/sbin/uci -q get "network.$2.device")
	fi
	_network_found "$1" "$_it"
}

_network_addresses() { # NETWORK KEY FAMILY
	local _device
	if [ -f "/var/state/network/$1" ]; then
		_network_told "$1" "$2"
	else
		network_get_device _device "$1" &&
			ip -o "-$3" addr show dev "$_device" scope global | sed 's/.* inet6\{0,1\} \([^/ ]*\).*/\1/'
	fi
}

network_get_ipaddrs() { # VARIABLE NETWORK
	_network_found "$1" "$(_network_addresses "$2" address 4)"
}

network_get_ipaddrs6() { # VARIABLE NETWORK
	_network_found "$1" "$(_network_addresses "$2" address6 6)"
}
