# shellcheck shell=sh
# The disk: partitions, file systems, archives. Only the plan's disk is ever written.

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
	for where in $(mounts_below "$target"); do
		umount "$where" 2>/dev/null || umount -l "$where"
	done
}

partition_disk() {
	disk=$(plan_value disk)
	[ -b "$disk" ] || fail "$disk is not there"
	unmount_target
	for device in "$disk"*; do
		[ "$device" = "$disk" ] || "$tools/wipefs" -q -a "$device" 2>/dev/null || true
	done
	"$tools/wipefs" -q -a "$disk"
	sed -n 's/^sfdisk //p' "$plan" >"$work/sfdisk"
	"$tools/sfdisk" -q --wipe always --wipe-partitions always "$disk" <"$work/sfdisk"
	blockdev --rereadpt "$disk" 2>/dev/null || true
	for device in $(awk '$1 == "mkfs" { print $2 }' "$plan"); do
		wait_for_block "$device"
	done
	"$tools/sfdisk" -l "$disk"
}

wait_for_block() {
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		[ -b "$1" ] && return 0
		sleep 1
	done
	fail "$1 did not appear after partitioning"
}

make_filesystems() {
	grep -e '^mkfs ' -e '^mount ' "$plan" >"$work/filesystems"
	while read -r verb device kind label; do
		case $verb/$kind in
		mkfs/ext4) "$tools/mkfs.ext4" -q -F -L "$label" "$device" ;;
		mkfs/vfat) "$tools/mkfs.vfat" -n "$label" "$device" ;;
		mkfs/swap) "$tools/mkswap" -q -L "$label" "$device" ;;
		mount/*) mount_at "$device" "$kind" ;;
		esac
	done <"$work/filesystems"
}

mount_at() { # device, place
	mkdir -p "$target$2"
	kind=$(awk -v device="$1" '$1 == "mkfs" && $2 == device { print $3 }' "$plan")
	mount -t "$kind" "$1" "$target${2%/}"
}

unpack() { # name: fetched to the target's disk, checked, then unpacked; memory stays free
	mkdir -p "$kept"
	archive=$kept/$1
	fetch "$1" "$archive"
	# shellcheck disable=SC2046 # one option or none
	"$tools/tar" -x -p --numeric-owner --xattrs --xattrs-include='*' $(decompressor "$archive") \
		-f "$archive" -C "$target"
	rm -f "$archive"
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
