# shellcheck shell=sh
# A machine that is retired: the plan's disks are overwritten, and nothing is installed.

is_wipe() {
	[ -n "$(plan_value wipe)" ]
}

wipe_steps() { # ends with the machine switched off: started again it would be met as a new one
	step wipe wipe_disks || return 1
	# The server forgets the machine by this; whether its answer comes does not matter any more.
	step finish sync
	say "the disk is wiped: switching off"
	poweroff -f
}

wipe_disks() {
	unmount_target
	all=0
	for disk in $(sed -n 's/^wipe //p' "$plan"); do
		[ -b "$disk" ] || fail "$disk is not there"
	done
	for disk in $(sed -n 's/^wipe //p' "$plan"); do
		release_disk "$disk"
		wipe_disk "$disk"
	done
}

wipe_disk() { # disk
	disk=$1
	size=$(blockdev --getsize64 "$disk")
	# What names file systems goes first: a machine that is switched off half-way starts none of them.
	for device in $(partitions_there "$disk") "$disk"; do
		"$tools/wipefs" -q -a "$device" 2>/dev/null || true
	done
	overwrite "$disk" "$size"
	blockdev --flushbufs "$disk"
	[ "$(tr -d '\000' <"$disk" | head -c 1 | wc -c)" -eq 0 ] || fail "$disk does not read as zeros everywhere"
	all=$((all + size))
	echo "$all" >"$work/bytes"
	echo "$disk: $size bytes overwritten with zeros and read again" | tee -a "$work/said"
}

overwrite() { # device, its size in bytes: whole MiB, then what is left in sectors
	whole=$(($2 / 1048576))
	left=$(($2 % 1048576 / 512))
	dd if=/dev/zero of="$1" bs=1048576 count="$whole" conv=notrunc,fsync
	[ "$left" -eq 0 ] ||
		dd if=/dev/zero of="$1" bs=512 seek=$((whole * 2048)) count="$left" conv=notrunc,fsync
}
