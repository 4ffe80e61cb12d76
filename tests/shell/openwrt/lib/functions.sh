# A shim of OpenWrt's shell library: what the package's scripts use of it. It is not OpenWrt's.
# shellcheck shell=dash
# shellcheck disable=SC2034,SC2013 # variables are for the callers; paths have no blanks

config_load() { # PACKAGE
	local data name
	for name in $CONFIG_NAMES; do unset "$name"; done
	CONFIG_NAMES=
	CONFIG_SECTIONS=
	data=$(/sbin/uci -q export "$1") || return 1
	eval "$data"
}

package() {
	:
}

config() { # TYPE SECTION
	CONFIG_SECTION=$2
	CONFIG_SECTIONS="$CONFIG_SECTIONS $2"
	_config_put TYPE "$1"
}

option() { # NAME VALUE
	_config_put "$1" "$2"
}

list() { # NAME VALUE
	local length all
	config_get length "$CONFIG_SECTION" "${1}_LENGTH" 0
	config_get all "$CONFIG_SECTION" "$1"
	length=$((length + 1))
	_config_put "${1}_LENGTH" "$length"
	_config_put "${1}_ITEM$length" "$2"
	_config_put "$1" "$all${all:+ }$2"
}

_config_put() { # NAME VALUE
	CONFIG_NAMES="$CONFIG_NAMES CONFIG_${CONFIG_SECTION}_$1"
	eval "CONFIG_${CONFIG_SECTION}_$1=\$2"
}

config_get() { # VARIABLE SECTION OPTION [DEFAULT]
	case "$2$3" in
		*[!A-Za-z0-9_]*) return 0 ;;
	esac
	eval "$1=\${CONFIG_${2}_${3}:-\$4}"
}

config_get_bool() { # VARIABLE SECTION OPTION [DEFAULT]
	local _value
	config_get _value "$2" "$3" "$4"
	case "$_value" in
		1 | on | true | yes | enabled) _value=1 ;;
		0 | off | false | no | disabled) _value=0 ;;
		*) _value=$4 ;;
	esac
	eval "$1=\$_value"
}

config_foreach() { # FUNCTION [TYPE] [ARGUMENT...]
	local _function=$1 _type=$2 _section _found
	shift
	[ $# -eq 0 ] || shift
	for _section in $CONFIG_SECTIONS; do
		config_get _found "$_section" TYPE
		[ -z "$_type" ] || [ "$_type" = "$_found" ] || continue
		"$_function" "$_section" "$@"
	done
}

config_list_foreach() { # SECTION OPTION FUNCTION [ARGUMENT...]
	local _section=$1 _option=$2 _function=$3 _length _value _at=1
	shift 3
	config_get _length "$_section" "${_option}_LENGTH" 0
	while [ "$_at" -le "$_length" ]; do
		config_get _value "$_section" "${_option}_ITEM$_at"
		"$_function" "$_value" "$@"
		_at=$((_at + 1))
	done
}

uci_get() { # PACKAGE SECTION OPTION [DEFAULT]
	/sbin/uci -q get "$1.$2.$3" || echo "$4"
}

list_contains() { # VARIABLE WORD
	local _words
	eval "_words=\" \$$1 \""
	case "$_words" in
		*" $2 "*) return 0 ;;
	esac
	return 1
}

group_exists() {
	grep -qs "^$1:" /etc/group
}

user_exists() {
	grep -qs "^$1:" /etc/passwd
}

group_add_next() { # NAME: prints its number
	local id=32768
	# One user is all that a namespace of a person who is not root has.
	[ -z "$PROCD_SHIM_NO_USERS" ] || id=0
	if ! group_exists "$1"; then
		while [ "$id" != 0 ] && cut -d: -f3 /etc/group | grep -qx "$id"; do id=$((id + 1)); done
		echo "$1:x:$id:" >>/etc/group
	fi
	sed -n "s/^$1:[^:]*:\([0-9]*\):.*/\1/p" /etc/group
}

user_add() { # NAME [UID] [GID]
	local id=${2:-32768}
	[ -z "$PROCD_SHIM_NO_USERS" ] || id=0
	while [ "$id" != 0 ] && cut -d: -f3 /etc/passwd | grep -qx "$id"; do id=$((id + 1)); done
	echo "$1:x:$id:${3:-$id}:$1:/var/run/$1:/bin/false" >>/etc/passwd
}

_each_init() { # PACKAGE ACTION...: for each of its init scripts
	local _script _action _list="/usr/lib/opkg/info/$1.list"
	shift
	for _script in $(grep -s '^/etc/init.d/' "$_list"); do
		for _action in "$@"; do "$IPKG_INSTROOT$_script" "$_action"; done
	done
}

default_postinst() { # SCRIPT
	local name user each
	name=$(basename "${1%.*}")
	user=$(sed -n 's/^Require-User: *\([^:=]*\).*/\1/p' "/usr/lib/opkg/info/$name.control")
	if [ -n "$user" ] && [ -z "$IPKG_INSTROOT" ]; then
		user_exists "$user" || user_add "$user" "" "$(group_add_next "$user")"
	fi
	if [ -z "$IPKG_INSTROOT" ]; then
		for each in $(grep -s '^/etc/uci-defaults/' "/usr/lib/opkg/info/$name.list"); do
			# shellcheck disable=SC1090
			([ -f "$each" ] && cd /etc/uci-defaults && . "$each") && rm -f "$each"
		done
		/sbin/uci commit
	fi
	each=/usr/lib/opkg/info/$name.postinst-pkg
	# shellcheck disable=SC1090
	[ ! -f "$each" ] || (. "$each")
	[ -z "$IPKG_INSTROOT" ] || return 0
	[ "$PKG_UPGRADE" = 1 ] || _each_init "$name" enable
	_each_init "$name" start
}

default_prerm() { # SCRIPT
	local name each
	name=$(basename "${1%.*}")
	each=/usr/lib/opkg/info/$name.prerm-pkg
	# shellcheck disable=SC1090
	[ ! -f "$each" ] || (. "$each")
	[ -z "$IPKG_INSTROOT" ] || return 0
	[ "$PKG_UPGRADE" = 1 ] || _each_init "$name" disable
	_each_init "$name" stop
}
