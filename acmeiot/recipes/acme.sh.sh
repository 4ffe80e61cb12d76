# shellcheck shell=sh disable=SC2154 # the lines above this part set them
acme=$(command -v acme.sh || echo "$HOME/.acme.sh/acme.sh")
[ -x "$acme" ] || {
	echo "install acme.sh first (it is found neither in PATH nor as $acme)" >&2
	exit 1
}
# It remembers server, root and key type for its own cron job. --standalone needs socat.
"$acme" --issue --standalone --server "$directory" --ca-bundle "$root" --keylength ec-384 \
	-d "$name.$domain" -d "$name.local" || [ $? = 2 ] # 2: nothing to renew yet
echo "have it installed where your service reads it, and renewed there by itself:"
echo "  $acme --install-cert --ecc -d $name.$domain --key-file KEY --fullchain-file CHAIN --reloadcmd COMMAND"
