# The server's place: its user, its directory, and its settings as TOML. After settings.sh.
# shellcheck shell=dash

TOLD=$RUN/told # what was told by which dnsmasq: of root, and gone with the next boot

# A backup of another router may have brought a list of users without ours; procd would run what has
# no user as root.
make_user() {
	user_exists "$OWNER" || user_add "$OWNER" '' "$(group_add_next "$OWNER")"
	user_exists "$OWNER" || complain "there is no user $OWNER, and none can be made"
	[ -z "$WRONG" ]
}

make_state() {
	if [ -d "$STATE" ] && [ ! -e "$STATE/acmeiot.sqlite" ] && [ ! -d "$STATE/ca" ] &&
		[ -n "$(ls -A "$STATE")" ]; then
		complain "state: $STATE has other files in it; name a directory of its own"
		return 1
	fi
	if [ ! -e "$STATE/acmeiot.sqlite" ] && ! is_mounted "$STATE"; then
		complain "state: nothing is mounted for $STATE yet; starting when it is"
		return 1
	fi
	# Flash is written only for what is not right. -h: not what a link leads to.
	if ! mkdir -p "$STATE" ||
		! { [ -n "$(find "$STATE" -prune -perm 0700)" ] || chmod 0700 "$STATE"; } ||
		! { [ -z "$(find "$STATE" ! -user "$OWNER" -o ! -group "$OWNER")" ] ||
			chown -Rh "$OWNER:$OWNER" "$STATE"; }; then
		complain "state: $STATE cannot be made"
		return 1
	fi
	mkdir -p "$RUN/server"
	chmod 0755 "$RUN"
	chown "$OWNER:$OWNER" "$RUN/server"
}

# Where another disk would be: without it, a second home would be made on the router's own flash.
is_mounted() { # DIRECTORY
	case "$1" in
		/mnt/* | /media/*) ;;
		*) return 0 ;;
	esac
	awk -v at="$1/" '
		{ gsub(/\\040/, " ", $2) }
		$2 != "/" && index(at, $2 "/") == 1 { found = 1 }
		END { exit !found }' /proc/mounts
}

# -- TOML

quoted() { # TEXT: as a TOML string
	printf '"%s"' "$(printf '%s' "$1" | sed 's/[\\"]/\\&/g')"
}

quoted_list() { # TEXT...: as a TOML list
	local each separator=
	printf '['
	for each in "$@"; do
		printf '%s%s' "$separator" "$(quoted "$each")"
		separator=', '
	done
	printf ']'
}

endpoints() { # PORT: the addresses with it
	local address
	for address in $ADDRESSES; do
		case "$address" in
			*:*) echo "[$address]:$1" ;;
			*) echo "$address:$1" ;;
		esac
	done
}

truth() {
	if [ "$1" = 1 ]; then echo true; else echo false; fi
}

# shellcheck disable=SC2046,SC2086 # lists of words that hold no blank and no pattern
write_config() {
	local first=${DOMAINS# }
	first=${first%% *}
	{
		echo "# Made from /etc/config/acmeiot; changes here are lost."
		echo "state = $(quoted "$STATE")"
		echo "name = $(quoted_list "$LABEL.$first")"
		echo "domain = $(quoted_list $DOMAINS)"
		echo "listen = $(quoted_list $(endpoints "$HTTPS_PORT"))"
		echo "http_listen = $(quoted_list $(endpoints "$HTTP_PORT"))"
		echo "approval = $(quoted "$APPROVAL")"
		echo "policy = \"lease\""
		echo "profile = $(quoted "$PROFILE")"
		echo "pairing_window = $PAIRING_WINDOW"
		echo "leaf_days = $LEAF_DAYS"
		echo "lease_files = $(quoted_list $(lease_files))"
		echo "hosts_files = $(quoted_list /etc/hosts '/tmp/hosts/*')"
		echo "dhcp_number = $DHCP_NUMBER"
		echo "status_file = $(quoted "$STATUS")"
		has_a_clock || echo "clock_set_file = $(quoted "$RUN/clock-set")"
		echo "announced = $(quoted_list $(memories))"
		echo "syslog = \"/dev/log\""
		echo "verbose = $(truth "$VERBOSE")"
	} >"$CONFIG.new" && chgrp "$OWNER" "$CONFIG.new" && chmod 0640 "$CONFIG.new" &&
		mv "$CONFIG.new" "$CONFIG" && return 0
	complain "$CONFIG cannot be written"
	return 1
}

# One that runs on without power, which the system was set by at its start (sysfixtime).
has_a_clock() {
	/sbin/hwclock -r >/dev/null 2>&1
}

dnsmasq_sections() {
	uci -q -X show dhcp | sed -n 's/^dhcp\.\([A-Za-z0-9_]*\)=dnsmasq$/\1/p'
}

memory_of() { # SECTION of dnsmasq; without one, of what odhcpd alone tells
	echo "$TOLD/${1:-odhcpd}.json"
}

memories() {
	local section
	for section in $(dnsmasq_sections) ''; do
		memory_of "$section"
	done
}

lease_files() {
	local section
	for section in $(dnsmasq_sections); do
		uci -q get "dhcp.$section.leasefile" || echo /tmp/dhcp.leases
	done | plain_paths
	# Up to 24.10 among the hosts, which are read as such; later in a file of their own.
	{ uci -q get dhcp.odhcpd.leasefile || echo /tmp/odhcpd.leases; } |
		grep -v '^/tmp/hosts/' | plain_paths
}

plain_paths() { # each once, and none with blanks, that would be two
	grep -x '/[A-Za-z0-9/._-]*' | sort -u
}
