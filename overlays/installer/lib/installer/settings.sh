# shellcheck shell=sh
# Files only this machine has: fstab, host name, which release it is.

id_of() { # UUID|PARTUUID, device
	id=$("$tools/blkid" -s "$1" -o value "$2")
	[ -n "$id" ] || fail "$2 has no $1"
	echo "$id"
}

fstab() {
	echo "# Written when the machine was installed."
	awk '$1 == "mount" { print $2, $3 }' "$plan" | while read -r device where; do
		kind=$(awk -v device="$device" '$1 == "mkfs" && $2 == device { print $3 }' "$plan")
		pass=2
		[ "$where" = / ] && pass=1
		# Of a file system's names every mount(8) knows its UUID; busybox knows no PARTUUID.
		id=$(id_of UUID "$device")
		echo "UUID=$id $where $kind defaults,noatime 0 $pass"
	done
	awk '$1 == "mkfs" && $3 == "swap" { print $2 }' "$plan" | while read -r device; do
		id=$(id_of UUID "$device")
		echo "UUID=$id none swap sw 0 0"
	done
	[ -s "$work/trees" ] || return 0
	while read -r file name; do
		echo "/var/lib/distserver/$file /var/db/repos/$name squashfs loop,ro,nofail 0 0"
	done <"$work/trees"
}

write_settings() {
	fstab >"$target/etc/fstab"
	plan_value hostname >"$target/etc/hostname"
	mkdir -p "$target/etc/conf.d" "$target/etc/distserver"
	# OpenRC reads the host name from here.
	echo "hostname=\"$(plan_value hostname)\"" >"$target/etc/conf.d/hostname"
	plan_value release >"$target/etc/distserver/release"
	echo "$server" >"$target/etc/distserver/server"
	cp "$work/manifest" "$work/manifest.sig" "$kept/"
}
