# shellcheck shell=dash
# For `acmeiot devices` and the like on the router's console.
ACMEIOT_STATE=$(uci -q get acmeiot.main.state) || ACMEIOT_STATE=/etc/acmeiot
export ACMEIOT_STATE
