# shellcheck shell=sh
# What is made of partitions: arrays, groups of volumes, containers, subvolumes; and taking apart what was made before.

storage=${storage:-/usr/lib/storage}
DM_DISABLE_UDEV=1
LVM_SUPPRESS_FD_WARNINGS=1
export DM_DISABLE_UDEV LVM_SUPPRESS_FD_WARNINGS
# Nobody runs udev here: nodes below /dev are made by the kernel and by these programs themselves.
lvm_settings='devices { use_devicesfile=0 } activation { udev_sync=0 udev_rules=0 monitoring=0 }'

take_programs() { # name of the release's file: unpacked beside the installer's own
	fetch "$1" "$work/$1"
	"$tools/zstd" -q -d -c "$work/$1" | (cd / && cpio -idu 'usr/lib/storage/*' 2>"$work/cpio") ||
		fail "$1 cannot be unpacked: $(tail -n 1 "$work/cpio")"
	mkdir -p /run/mdadm /run/lock/lvm /run/lvm /run/cryptsetup
	[ ! -e /proc/sys/kernel/modprobe ] || echo /bin/modprobe >/proc/sys/kernel/modprobe || true
	for module in md-mod raid0 raid1 raid10 raid456 dm-mod dm-crypt algif_skcipher xfs btrfs; do
		modprobe -q "$module" 2>/dev/null || true
	done
}

lvm() { # command, arguments ...
	word=$1
	shift
	"$storage/lvm" "$word" --config "$lvm_settings" "$@"
}

release_device() { # name below /sys/class/block: what stands on it is taken apart, the uppermost first
	for holder in "$sys/class/block/$1/holders"/*; do
		[ -e "$holder" ] || continue
		held=${holder##*/}
		(release_device "$held")
		case $held in
		md*) echo clear >"$sys/class/block/$held/md/array_state" ;;
		dm-*) "$storage/dmsetup" remove --retry "$(cat "$sys/class/block/$held/dm/name")" ;;
		esac
	done
}

release_disk() { # disk: neither an earlier run nor the kernel itself holds a part of it afterwards
	release_device "${1#/dev/}"
	for device in $(partitions_there "$1"); do
		release_device "${device#/dev/}"
	done
}

assemble() { # in the plan's order, each after what it is made of
	grep -e '^raid ' -e '^vg ' -e '^lv ' -e '^luks ' "$plan" >"$work/assemble" || return 0
	while read -r verb rest <&4; do
		# shellcheck disable=SC2086 # the words of a line
		case $verb in
		raid) make_raid $rest ;;
		vg) make_group $rest ;;
		lv) make_volume $rest ;;
		luks) make_container $rest ;;
		esac
	done 4<"$work/assemble"
}

make_raid() { # device, level, metadata, name, members ...
	device=$1 level=$2 metadata=$3 name=$4
	shift 4
	offset=
	bitmap=--bitmap=none
	[ "$metadata" != 1.2 ] || offset=--data-offset=1M
	# Without copies there is nothing to bring up to date, and mdadm refuses the word.
	[ "$level" != 0 ] || bitmap=
	if [ "$metadata" = 0.90 ]; then about=; else about="--homehost=any --name=$name"; fi
	# shellcheck disable=SC2086 # options
	"$storage/mdadm" --create "$device" --run --force --quiet --level="$level" --metadata="$metadata" $about \
		$bitmap $offset --raid-devices=$# "$@"
	wait_for_block "$device"
}

make_group() { # name, members ...
	name=$1
	shift
	lvm pvcreate -q -ff -y "$@"
	lvm vgcreate -q -y "$name" "$@"
}

make_volume() { # group, name, MiB
	lvm lvcreate -q -y -W n -Z n -L "$3m" -n "$2" "$1"
	wait_for_block "/dev/mapper/$1-$2"
}

make_container() { # device, name: one key for the server to keep, one passphrase for a person
	umask 077
	place=$work/containers/$2
	mkdir -p "$place"
	random_hex >"$place/key"
	# 30 characters of 31: 148 bits, without those that are mistaken for others.
	tr -dc 'a-hj-km-np-z2-9' </dev/urandom | head -c 30 | sed 's/...../&-/g; s/-$//' | tr -d '\n' >"$place/recovery"
	# Nobody guesses either of them: there is nothing to make slow, and old machines open it at once.
	"$storage/cryptsetup" luksFormat -q --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 \
		--key-file "$place/key" "$1"
	"$storage/cryptsetup" luksAddKey -q --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --key-file "$place/key" \
		"$1" "$place/recovery"
	"$storage/cryptsetup" luksUUID "$1" >"$place/uuid"
	"$storage/cryptsetup" open --key-file "$place/key" "$1" "$2"
	wait_for_block "/dev/mapper/$2"
}

random_hex() { # 256 bits
	head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n'
}

has_containers() {
	grep -q '^luks ' "$plan"
}

hand_over_keys() { # directory for what the initramfs asks with: the server has every key before anybody depends on it
	[ -s "$work/enrolled" ] || fail "the machine is not enrolled: nobody would keep the keys of its disks"
	# shellcheck source=/dev/null
	. "$storage/door.sh"
	door=$(cat "$target/etc/distserver/door")
	authority=$target/etc/distserver/ca.crt
	: >"$work/nothing"
	tries=90
	until door_ask GET "/client/certificate/$(cat "$work/enrolled")" "$work/nothing" >"$work/machine.crt"; do
		tries=$((tries - 1))
		[ "$tries" -gt 0 ] || fail "the machine's certificate was not signed: $(head -n 1 "$work/door.answer")"
		sleep 2
	done
	random_hex >"$1/ask"
	{
		printf '{"ask": "%s", "containers": [' "$(cat "$1/ask")"
		comma=
		for place in "$work/containers"/*; do
			printf '%s{"uuid": "%s", "name": "%s", "key": "%s", "recovery": "%s"}' "$comma" "$(cat "$place/uuid")" \
				"${place##*/}" "$(cat "$place/key")" "$(cat "$place/recovery")"
			comma=,
		done
		printf ']}'
	} >"$work/keys"
	door_ask POST /client/disk-keys "$work/keys" -cert "$work/machine.crt" \
		-key "$target/etc/distserver/machine.key" >/dev/null ||
		fail "the server did not take the keys of the disks: $(tail -n 1 "$work/door.answer")"
	rm -rf "$work/keys" "$work/containers"
	cp "$authority" "$1/ca.crt"
	echo "$door" >"$1/door"
}

make_subvolume() { # device, name
	mkdir -p "$work/btrfs"
	mount -t btrfs "$1" "$work/btrfs"
	"$storage/btrfs" -q subvolume create "$work/btrfs/$2"
	umount "$work/btrfs"
}

is_assembled() { # whether the installed machine, too, has to put parts of its disks together
	grep -q -e '^raid ' -e '^vg ' -e '^luks ' "$plan"
}

write_assembly() { # directory: how the installed machine puts its disks together, read by the initramfs there
	mkdir -p "$1"
	: >"$1/arrays"
	sed -n 's/^raid //p' "$plan" | while read -r device _; do
		"$storage/mdadm" --detail --export "$device" | awk -v device="$device" -F = '
			$1 == "MD_UUID" { print "ARRAY " device " UUID=" $2 }' >>"$1/arrays"
	done
	sed -n 's/^vg \([^ ]*\).*/\1/p' "$plan" >"$1/groups"
	sed -n 's/^luks //p' "$plan" | while read -r device name; do
		echo "$name $(id_of UUID "$device")"
	done >"$1/containers"
	[ ! -s "$1/arrays" ] || sed '1i\
# Written when the machine was installed.' "$1/arrays" >"$target/etc/mdadm.conf"
	[ ! -s "$1/containers" ] || awk '{ print $1 " UUID=" $2 " none luks,noauto" }' "$1/containers" >"$target/etc/crypttab"
}

make_initramfs() { # name of the kernel in /boot: the machine's part, then the release's programs
	is_assembled || return 0
	tree=$work/initramfs
	rm -rf "$tree"
	mkdir -p "$tree/bin" "$tree/etc" "$tree/proc" "$tree/sys" "$tree/dev" "$tree/run" "$tree/root"
	cp /bin/busybox "$tree/bin/busybox"
	ln -s busybox "$tree/bin/sh"
	ln -s usr/lib/storage/init "$tree/init"
	write_assembly "$tree/etc/storage"
	if has_containers; then hand_over_keys "$tree/etc/storage"; fi
	mkdir -p "$target/etc/distserver"
	(
		umask 077
		cd "$tree" || exit 1
		find . | sort | cpio -o -H newc 2>/dev/null >"$target/etc/distserver/initramfs.cpio"
		# An archive as it is before one that is packed: that is the order the kernel reads both in.
		cat "$target/etc/distserver/initramfs.cpio" "$work/storage" >"$target/boot/initramfs-${1#/boot/*-}.img"
	)
	rm -rf "$tree"
}
