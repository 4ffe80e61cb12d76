# How the networks are told of the server, and no more. After settings.sh and config.sh.
# All of it lies in memory: what is forgotten there is gone with the next boot.
# shellcheck shell=dash

SNIPPET=acmeiot.conf # in dnsmasq's directories
# shellcheck disable=SC2016 # the file says it so
SNIPPET_SAYS='# Written by `acmeiot announce`'
HOSTS=/tmp/hosts/acmeiot

conf_of() { # SECTION: the file that OpenWrt has made for this dnsmasq
	echo "/var/etc/dnsmasq.conf.$1"
}

# Where a dnsmasq looks for more of its configuration: each its own place from 24.10 on, and one
# for all before.
directory_of() { # SECTION
	local found
	found=$(sed -n 's/^conf-dir=\([^,]*\).*/\1/p' "$(conf_of "$1")" 2>/dev/null | tail -n 1)
	[ -n "$found" ] || found=$(uci -q get "dhcp.$1.confdir")
	found=${found%%,*}
	if [ -z "$found" ]; then
		found=/tmp/dnsmasq.$1.d
		[ -d "$found" ] || found=/tmp/dnsmasq.d
	fi
	echo "$found"
}

# Those of our networks that a dnsmasq serves.
served_by() { # SECTION
	local network only never
	only=$(uci -q get "dhcp.$1.interface")
	never=$(uci -q get "dhcp.$1.notinterface")
	[ "$(uci -q get "dhcp.$1.disabled")" != 1 ] || return 0
	for network in $NETWORKS; do
		case " $never " in
			*" $network "*) continue ;;
		esac
		case " ${only:-$network} " in
			*" $network "*) echo "$network" ;;
		esac
	done
}

# The sections of odhcpd's and dnsmasq's pools for our networks.
pools() {
	local line section
	uci -q -X show dhcp | sed -n 's/^dhcp\.\([A-Za-z0-9_]*\)=dhcp$/\1/p' | while read -r section; do
		line=$(uci -q get "dhcp.$section.interface")
		case " $NETWORKS " in
			*" $line "*) echo "$section" ;;
		esac
	done
}

odhcpd_runs() {
	[ -x /etc/init.d/odhcpd ] && /etc/init.d/odhcpd enabled
}

# The dnsmasqs that run for our networks.
ours() {
	local section
	for section in $(dnsmasq_sections); do
		if [ -f "$(conf_of "$section")" ] && [ -n "$(served_by "$section")" ]; then echo "$section"; fi
	done
}

# Of these, one for each directory: up to 23.05 all read the same, and one file is for them all.
leaders() {
	local section seen=' '
	for section in $(ours); do
		case "$seen" in
			*" $(directory_of "$section") "*) continue ;;
		esac
		seen="$seen$(directory_of "$section") "
		echo "$section"
	done
}

# Tell all that can be told; 1 when something failed that may work later. Before that, take back
# what was told by another dnsmasq than today's.
announce() {
	local section memory leaders today=' ' failed=0 first=1
	write_hosts
	leaders=$(leaders)
	[ -n "$leaders" ] || ! odhcpd_runs || today=" $(memory_of '') "
	for section in $leaders; do
		today="$today$(memory_of "$section") "
	done
	for memory in "$TOLD"/*.json; do
		case "$today" in
			*" $memory "*) continue ;;
		esac
		[ ! -e "$memory" ] || run /usr/bin/acmeiot announce --remove --state "$STATE" \
			--memory "$memory" --restart "$LIBRARY/reread" || failed=1
	done
	for section in $leaders; do
		announce_by "$section" "$first" || failed=1
		first=
	done
	[ -n "$leaders" ] || ! odhcpd_runs || announce_by '' 1 || failed=1
	return $failed
}

# shellcheck disable=SC2046 # names of networks and pools hold no blank
announce_by() { # SECTION|'' FIRST
	local section="$1" first="$2" network device pool each
	mkdir -p "$TOLD"
	set -- --state "$STATE" --config "$CONFIG" --memory "$(memory_of "$section")"
	if [ -n "$section" ]; then
		set -- "$@" --dnsmasq-conf "$(conf_of "$section")" --dnsmasq-dir "$(directory_of "$section")"
		for each in $(ours); do
			[ "$(directory_of "$each")" = "$(directory_of "$section")" ] || continue
			for network in $(served_by "$each"); do
				! network_get_device device "$network" || set -- "$@" --interface "$device"
			done
		done
	else
		set -- "$@" --no-dnsmasq
	fi
	if [ -n "$first" ] && odhcpd_runs; then
		for pool in $(pools); do
			set -- "$@" --pool "$pool"
		done
	else
		set -- "$@" --no-odhcpd
	fi
	run /usr/bin/acmeiot announce "$@" --restart "$LIBRARY/reread"
}

# The server's names, for a dnsmasq that knows this router by another, or in another domain.
write_hosts() {
	local address domain names=
	for domain in $DOMAINS local; do
		names="$names $LABEL.$domain"
	done
	mkdir -p "${HOSTS%/*}"
	for address in $ADDRESSES; do
		echo "$address$names"
	done >"$RUN/hosts"
	# dnsmasq reads all that lies there: never half of it. Both are in the same memory.
	if cmp -s "$RUN/hosts" "$HOSTS"; then
		rm -f "$RUN/hosts"
	else
		mv "$RUN/hosts" "$HOSTS"
		read_hosts
	fi
}

read_hosts() {
	ubus call service signal '{"name":"dnsmasq","signal":1}' >/dev/null 2>&1
}

# -- and taken back

is_announced() {
	[ -e "$HOSTS" ] || [ -d "$TOLD" ] || [ -n "$(snippets)" ] || [ -n "$(told_pools)" ]
}

snippets() { # ours, wherever a dnsmasq may find them
	local section
	# shellcheck disable=SC2046 # no path with a blank is left
	grep -lF "$SNIPPET_SAYS" $({
		for section in $(dnsmasq_sections); do
			echo "$(directory_of "$section")/$SNIPPET"
		done
		ls -d "/tmp/dnsmasq.d/$SNIPPET" /tmp/dnsmasq.*.d/"$SNIPPET" 2>/dev/null
	} | plain_paths) /dev/null 2>/dev/null
}

take_back() {
	local memory again=
	is_announced || return 0
	for memory in "$TOLD"/*.json; do
		[ -e "$memory" ] || continue
		# Without Python, say while its packages are removed, what is below is enough.
		/usr/bin/acmeiot announce --remove --state "$STATE" --memory "$memory" >/dev/null && again=1
	done
	for memory in $(snippets); do
		rm -f "$memory" && again=1
	done
	sweep_pools && again=1
	rm -rf "$HOSTS" "$TOLD"
	[ -z "$again" ] || [ -n "$NO_RESTART" ] || "$LIBRARY/reread"
	[ -n "$NO_RESTART" ] || read_hosts
}

# The pools whose raw DHCPv6 options have ours: option 17 of enterprise 55357.
told_pools() {
	uci -q -X show dhcp |
		sed -n "s/^dhcp\.\([A-Za-z0-9_]*\)\.dhcpv6_raw='.*0011....0000[dD]83[dD].*'$/\1/p"
}

sweep_pools() { # 0 when there was something
	local pool value left found=1
	for pool in $(told_pools); do
		found=0
		uci -q revert "dhcp.$pool.dhcpv6_raw"
		value=$(uci -q get "dhcp.$pool.dhcpv6_raw") || continue
		left=$(without_ours "$value")
		[ "$left" != "$value" ] || continue
		# Somebody has committed it since.
		uci -q delete "dhcp.$pool.dhcpv6_raw"
		[ -z "$left" ] || uci set "dhcp.$pool.dhcpv6_raw=$left"
		uci commit dhcp
	done
	return $found
}

# Code and length are two octets each; what does not end where an option ends stays as it is.
without_ours() { # HEX
	echo "$1" | awk '
		function number(hex,    i, n) {
			for (i = 1; i <= length(hex); i++)
				n = n * 16 + index("0123456789abcdef", tolower(substr(hex, i, 1))) - 1
			return n
		}
		{
			for (rest = $0; rest != ""; rest = substr(rest, size + 1)) {
				size = 8 + 2 * number(substr(rest, 5, 4))
				option = substr(rest, 1, size)
				if (tolower(option) !~ /^0011....0000d83d/) kept = kept option
			}
			print kept
		}'
}
