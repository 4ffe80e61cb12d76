#!/bin/sh
# Shim: what OpenWrt's does of a lease's life, without ubus between.
case "$1" in
	add) action=add ;;
	del) action=remove ;;
	old) action=update ;;
	*) exit 0 ;;
esac
ACTION=$action MACADDR=$2 IPADDR=$3 HOSTNAME=${4:-} hotplug-call dhcp
