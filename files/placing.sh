# shellcheck shell=sh disable=SC2034,SC2154,SC3043 # shared; dash and busybox both have local
# Files of this project's, and its lines in files of the owner's: brought there and taken away.
# `files/install` sources this. `root` is what all places are below, `remove` and `dry` are empty or
# `yes`, `scratch` is a directory for one run; `changed` tells whether anything was to be done.
root='' remove='' dry='' changed=''
begin='# >>> acmeiot: files/install wrote this, and its --remove takes it out'
unended="$begin (the line above had no end)"
end='# <<< acmeiot'

fail() {
	echo "files/install: $1" >&2
	exit 1
}

doing() { # WHAT: say it, and whether to do it
	changed=yes
	if [ -n "$dry" ]; then echo "would $1" && return 1; else echo "$1"; fi
}

has() { # PLACE: a link that leads nowhere is there, too
	[ -e "$root$1" ] || [ -L "$root$1" ]
}

drop() { # PLACE
	if has "$1" && doing "remove $1"; then rm -rf "$root$1"; fi
}

file() { # MODE SOURCE PLACE: is there, or is not, as is wanted
	local new
	if [ -n "$remove" ]; then
		drop "$3"
	elif ! { [ -e "$root$3" ] && cmp -s "$2" "$root$3"; } && doing "install $3"; then
		mkdir -p "$root${3%/*}"
		new=$root${3%/*}/.acmeiot.new # nobody runs dot files in a directory of hooks
		cp "$2" "$new"
		chmod "$1" "$new"
		mv -f "$new" "$root$3"
	fi
}

lines() { # top|bottom PLACE SOURCE: its lines are in that file, or none of ours, as is wanted
	local file what="put lines into"
	[ -f "$root$2" ] || return 0
	file=$(readlink -f "$root$2") # a link stays one
	[ "$(grep -cxF -e "$begin" -e "$unended" "$file")" = "$(grep -cxF "$end" "$file")" ] ||
		fail "$2: '$begin' and '$end' do not match; mend that by hand"
	owners "$file" >"$scratch/owners"
	{
		[ "$remove$1" != top ] || marked "$begin" "$3"
		cat "$scratch/owners"
		if [ "$remove$1" = bottom ]; then
			if ended "$scratch/owners"; then marked "$begin" "$3"; else echo && marked "$unended" "$3"; fi
		fi
	} >"$scratch/lines"
	[ -z "$remove" ] || what="take lines out of"
	if ! cmp -s "$scratch/lines" "$file" && doing "$what $2"; then
		cp -p "$file" "$file.acmeiot" # for its owner and mode
		cat "$scratch/lines" >"$file.acmeiot"
		mv -f "$file.acmeiot" "$file"
	fi
}

marked() { # BEGIN SOURCE
	echo "$1"
	cat "$2"
	echo "$end"
}

ended() { # FILE: its last line is, or there is none
	[ ! -s "$1" ] || [ "$(tail -c 1 "$1" | wc -l)" -eq 1 ]
}

owners() { # FILE: as it is without our lines, to the octet
	local last=no
	! ended "$1" || last=yes
	awk -v last="$last" -v begin="$begin" -v unended="$unended" -v end="$end" '
		$0 == begin || $0 == unended { ours = 1; cut = $0 == unended; next }
		ours { if ($0 == end) ours = 0; next }
		{ if (some++) printf "\n"; printf "%s", $0; cut = 0 }
		END { if (some && last == "yes" && !cut) printf "\n" }' "$1"
}
