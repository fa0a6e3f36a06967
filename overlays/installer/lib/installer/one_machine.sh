# shellcheck shell=sh
# An image that was made for one machine: it installs that one without asking, once, and not for ever.

is_machine_of_medium() {
	wanted=$(medium_value machine | cut -d ' ' -f 1)
	[ -n "$wanted" ] && has_card "$wanted"
}

use_its_card() { # of several cards the one that the server knows the machine by
	if is_machine_of_medium; then boot_nic=$(medium_value machine | cut -d ' ' -f 1); fi
}

has_card() { # MAC
	for path in "$net"/*; do
		[ -e "$path/device" ] && [ "$(cat "$path/address")" = "$1" ] && return 0
	done
	return 1
}

must_ask() { # 0 when a person has to be asked; prints why if that is news
	[ -n "$(medium_value machine)" ] || return 0
	if ! is_machine_of_medium; then
		echo "the medium is for $(medium_value machine), which is not this machine"
	elif ! clock_is_right; then
		echo "the clock says $(date -u), before the medium was made: whether it expired cannot be known"
	elif is_expired; then
		echo "the medium was good until $(medium_value expires) only"
	elif is_used_up; then
		echo "this machine was installed with this medium already"
	else
		return 1
	fi
}

seconds_of() { # 2026-01-01T00:00:00Z: since the epoch
	date -u -D %Y-%m-%dT%H:%M:%SZ -d "$1" +%s
}

clock_is_right() { # as it was when this was started: it is corrected later
	[ -e "$work/clock" ] || date +%s >"$work/clock"
	[ "$(cat "$work/clock")" -ge "$(seconds_of "$(medium_value created)")" ]
}

is_expired() {
	[ "$(cat "$work/clock")" -ge "$(seconds_of "$(medium_value expires)")" ]
}

token_mark() { # the file's name that an installation with this medium's token leaves
	medium_value token | tr -d '\n' | sha256sum | cut -c 1-16
}

is_used_up() { # looks at the file systems of the disk that is to be written
	mkdir -p "$work/old"
	for device in $(partitions_there "$(plan_value disk)"); do
		# Without `noload` the journal would be written back.
		mount -t ext4 -o ro,noload "$device" "$work/old" 2>/dev/null || continue
		found=
		if [ -e "$work/old/var/lib/distserver/media/$(token_mark)" ]; then found=1; fi
		umount "$work/old"
		[ -z "$found" ] || return 0
	done
	return 1
}
