# Sourced by sysupgrade, whose new system may be without this package: what it keeps of the
# configuration must not speak of a server that is gone. A backup (-b, -l) changes nothing.
# shellcheck shell=dash
# shellcheck disable=SC2034,SC2154 # sysupgrade's variables

acmeiot_leave() {
	[ -z "$CONF_BACKUP" ] && [ "${CONF_BACKUP_LIST:-0}" != 1 ] || return 0
	[ ! -x /etc/init.d/acmeiot ] || NO_RESTART=1 /etc/init.d/acmeiot stop
}

sysupgrade_init_conffiles="acmeiot_leave $sysupgrade_init_conffiles"
