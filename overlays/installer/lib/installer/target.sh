# shellcheck shell=sh
# The disks: partitions, file systems, archives. Only the plan's disks are ever written.

target=${target:-/mnt/target}
# Some builds of busybox prefer their own applets to programs of the same name: these are named in full.
tools=${tools:-/usr/bin}
kept=$target/var/lib/distserver

mounts_below() { # mount points at and below $1, deepest first
	awk -v top="$1" '$2 == top || index($2, top "/") == 1 { print $2 }' /proc/mounts | sort -r
}

is_mounted() {
	awk -v place="$1" '$2 == place { found = 1 } END { exit !found }' /proc/mounts
}

unmount_target() {
	swap_off
	for where in $(mounts_below "$target"); do
		umount "$where" 2>/dev/null || umount -l "$where"
	done
}

partition_disks() { # all is looked at before anything is written
	unmount_target
	for disk in $(sed -n 's/^disk //p' "$plan"); do
		[ -b "$disk" ] || fail "$disk is not there"
		release_disk "$disk"
	done
	check_kept
	for disk in $(sed -n 's/^disk //p' "$plan"); do
		if grep -qx "unchanged $disk" "$plan"; then
			clear_some "$disk"
		else
			partition_disk "$disk"
		fi
	done
}

partition_disk() { # disk
	for device in $(partitions_there "$1"); do
		"$tools/wipefs" -q -a "$device" 2>/dev/null || true
	done
	"$tools/wipefs" -q -a "$1"
	awk -v disk="$1" '$1 == "disk" { ours = $2 == disk } ours && sub(/^sfdisk /, "")' "$plan" >"$work/sfdisk"
	"$tools/sfdisk" -q --wipe always --wipe-partitions always "$1" <"$work/sfdisk"
	blockdev --rereadpt "$1" 2>/dev/null || true
	for device in $(written_devices); do
		if of_disk "$device"; then wait_for_block "$device"; fi
	done
	"$tools/sfdisk" -l "$1"
}

written_devices() { # all that a line of the plan makes something of
	awk '$1 == "mkfs" || $1 == "luks" { print $2 }
		$1 == "vg" { for (word = 3; word <= NF; word++) print $word }
		$1 == "raid" { for (word = 6; word <= NF; word++) print $word }' "$plan"
}

clear_some() { # disk whose table stays: what is made anew on it, and nothing else
	disk=$1
	for device in $(written_devices); do
		if of_disk "$device"; then
			wait_for_block "$device"
			"$tools/wipefs" -q -a "$device"
		fi
	done
}

check_kept() { # what stays is what was planned with; what is new is not there under another name
	sed -n 's/^keep //p' "$plan" | while read -r device kind label; do
		now="$(label_of TYPE "$device") $(label_of LABEL "$device")"
		[ "$now" = "$kind $label" ] ||
			fail "$device holds $now, and $kind $label was to be kept: nothing was written"
	done
	sed -n 's/^mkfs \([^ ]*\) [^ ]* \([^ ]*\) new$/\1 \2/p' "$plan" | while read -r device label; do
		for disk in $(sed -n 's/^disk //p' "$plan"); do
			for there in $(partitions_there "$disk"); do
				[ "$(label_of LABEL "$there")" != "$label" ] ||
					fail "$there is called $label, which is to be kept, and $device would be: nothing was written"
			done
		done
	done
}

label_of() { # TYPE|LABEL, device: read from the disk itself
	"$tools/blkid" -p -s "$1" -o value "$2" 2>/dev/null || true
}

wait_for_block() {
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		[ -b "$1" ] && return 0
		sleep 1
	done
	fail "$1 did not appear after partitioning"
}

make_filesystems() {
	assemble
	grep -e '^mkfs ' -e '^subvolume ' -e '^mount ' "$plan" >"$work/filesystems"
	while read -r verb device kind label _; do
		case $verb/$kind in
		mkfs/ext4) "$tools/mkfs.ext4" -q -F -L "$label" "$device" ;;
		mkfs/xfs) "$storage/mkfs.xfs" -q -f -L "$label" "$device" ;;
		mkfs/btrfs) "$storage/mkfs.btrfs" -q -f -L "$label" "$device" ;;
		mkfs/vfat) "$tools/mkfs.vfat" -n "$label" "$device" ;;
		mkfs/swap) "$tools/mkswap" -q -L "$label" "$device" ;;
		subvolume/*) make_subvolume "$device" "$kind" ;;
		mount/*) mount_at "$device" "$kind" "$label" ;;
		esac
	done <"$work/filesystems"
	swap_on
}

kind_of() { # device: the file system that the plan makes or keeps there
	awk -v device="$1" '($1 == "mkfs" || $1 == "keep") && $2 == device { print $3 }' "$plan"
}

mount_at() { # device, place, options or nothing
	mkdir -p "$target$2"
	mount -t "$(kind_of "$1")" -o "${3:-rw}" "$1" "$target${2%/}"
}

unpack() { # name: fetched to the target's disk, checked, then unpacked; memory stays free
	mkdir -p "$kept"
	archive=$kept/$1
	if is_on_medium "$(plan_value base)"; then
		# It was compared with the manifest before the disk was touched.
		[ -n "$(listed "$1")" ] || fail "the manifest lists no file $1"
		base=$(plan_value base)
		archive=${base#file://}/$1
		count_bytes "$(file_size "$archive")"
	else
		fetch "$1" "$archive"
	fi
	# shellcheck disable=SC2046 # one option or none
	"$tools/tar" -x -p --numeric-owner --xattrs --xattrs-include='*' $(decompressor "$archive") \
		-f "$archive" -C "$target"
	rm -f "$kept/$1"
}

decompressor() { # tar's option for a file, by its first octets
	case $(head -c 4 "$1" | od -An -tx1 | tr -d ' \n') in
	28b52ffd) echo "--use-compress-program=$tools/zstd" ;;
	1f8b*) echo --gzip ;;
	fd377a58) echo --xz ;;
	esac
}

keep_tree() { # file, repository: the image stays on the machine, mounted by fstab from then on
	mkdir -p "$kept" "$target/var/db/repos/$2"
	fetch "$1" "$kept/$1"
	echo "$1 $2" >>"$work/trees"
	is_mounted "$target/var/db/repos/$2" ||
		mount -t squashfs -o loop,ro "$kept/$1" "$target/var/db/repos/$2"
}
