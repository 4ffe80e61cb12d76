# shellcheck shell=sh disable=SC2154,SC3043 # files/install sets them; dash and busybox have local
# Where the hooks in `dhcp` go, for each DHCP client that is here. `files/install` sources this; the
# comments in the hooks say the same to those who do it by hand.

there() { # PLACE: it is, or may have been
	[ -n "$remove" ] || [ -e "$root$1" ]
}

set_hooks() { # DIRECTORY of the hooks
	local place network conf="" dhcp="$1"
	file 0755 "$dhcp/acmeiot-saw" "$lib/acmeiot-saw"
	if there /etc/dhcp/dhclient-exit-hooks.d; then
		file 0644 "$dhcp/dhclient.conf" /etc/dhcp/acmeiot.conf
		echo 'include "/etc/dhcp/acmeiot.conf";' >"$scratch/line"
		lines bottom /etc/dhcp/dhclient.conf "$scratch/line"
		file 0644 "$dhcp/dhclient" /etc/dhcp/dhclient-exit-hooks.d/acmeiot
	fi
	for place in /usr/lib /lib /usr/libexec; do
		[ ! -L "$root$place" ] || continue # /lib is /usr/lib
		[ $place = /usr/libexec ] || place=$place/dhcpcd
		there $place/dhcpcd-hooks || continue
		file 0644 "$dhcp/dhcpcd" $place/dhcpcd-hooks/70-acmeiot
		conf=/etc/dhcpcd.conf
	done
	# Below an `interface` line they would be meant for that one only.
	[ -z "$conf" ] || lines top $conf "$dhcp/dhcpcd.conf"
	if there /etc/NetworkManager/dispatcher.d; then
		file 0755 "$dhcp/networkmanager" /etc/NetworkManager/dispatcher.d/90-acmeiot
	fi
	if there /etc/udhcpc/default.script; then
		file 0644 "$dhcp/udhcpc" "$lib/udhcpc"
		echo ". $lib/udhcpc" >"$scratch/line"
		lines bottom /etc/udhcpc/default.script "$scratch/line"
	fi
	if there /etc/openwrt_release; then
		file 0644 "$dhcp/udhcpc" /etc/udhcpc.user.d/acmeiot
		file 0644 "$dhcp/odhcp6c" /etc/odhcp6c.user.d/acmeiot
	fi
	# Its option has to be private, and the agents told its number: not worth doing unasked.
	for network in "$root"/etc/systemd/network/*.network; do
		if [ -n "$remove" ] || [ ! -f "$network" ]; then break; fi
		echo "left to you: systemd-networkd asks for no DHCP option; see $dhcp/networkd.conf"
		break
	done
}
