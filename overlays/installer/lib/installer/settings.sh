# shellcheck shell=sh
# Files only this machine has: fstab, host name, which release it is.

id_of() { # UUID|PARTUUID, device
	id=$("$tools/blkid" -s "$1" -o value "$2")
	[ -n "$id" ] || fail "$2 has no $1"
	echo "$id"
}

fstab() {
	echo "# Written when the machine was installed."
	awk '$1 == "mount" { print $2, $3, $4 }' "$plan" | while read -r device where options; do
		kind=$(kind_of "$device")
		pass=2
		[ "$where" = / ] && pass=1
		case $kind in
		# They look after themselves when they are mounted.
		xfs | btrfs) pass=0 ;;
		# What asks for the keys of disks is for root alone, on a file system without modes as well.
		vfat) if has_containers; then options="umask=0077${options:+,$options}"; fi ;;
		esac
		# Of a file system's names every mount(8) knows its UUID; busybox knows no PARTUUID.
		id=$(id_of UUID "$device")
		echo "UUID=$id $where $kind defaults,noatime${options:+,$options} 0 $pass"
	done
	awk '$1 == "mkfs" && $3 == "swap" { print $2 }' "$plan" | while read -r device; do
		id=$(id_of UUID "$device")
		echo "UUID=$id none swap sw 0 0"
	done
	# The agent mounts those of the release it has.
	if has_agent || [ ! -s "$work/trees" ]; then return 0; fi
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
	if has_agent; then
		leave_release
		enrol
	fi
}

has_agent() { # of a profile that takes it out of its world, or a release from before there was one, nothing is left
	[ -x "$target/usr/sbin/distserver-client" ] && [ -n "$(listed portage.sqfs)" ]
}

leave_release() { # what the agent mounts at the first start already, without asking anybody
	own=$target/var/cache/distserver/r/$(plan_value release)
	mkdir -p "$own"
	cp "$work/manifest" "$work/manifest.sig" "$own/"
	fetch portage.sqfs "$own/portage.sqfs"
	fetch bases "$own/bases"
	cp "$kept/Packages" "$own/Packages"
	[ ! -s "$work/trees" ] || while read -r file _; do
		mv "$kept/$file" "$own/$file"
	done <"$work/trees"
	rm -f "$kept/Packages" "$kept/manifest" "$kept/manifest.sig"
	cp "$key" "$target/etc/distserver/release-key.gpg"
	# What is mounted there is the only configuration: below it nothing can be mistaken for it.
	rm -rf "$target/etc/portage"
	mkdir -p "$target/etc/portage"
	echo "The release's portage.sqfs is mounted here: see distserver-client status." >"$target/etc/portage/README"
}

enrol() { # the machine's own key: only its signing request travels; without an answer it follows its channel unknown
	own=$target/etc/distserver
	{ [ -z "$offline" ] && [ -s "$own/ca.crt" ] && [ -s "$own/door-port" ]; } || return 0
	mount_inside
	inside openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$(plan_value hostname)" \
		-keyout /etc/distserver/machine.key -out /run/machine.request 2>"$work/openssl" || {
		echo "no key was made: $(tail -n 1 "$work/openssl")"
		return 0
	}
	chmod 600 "$own/machine.key"
	{
		echo "report $(cat "$work/secret")"
		cat "$target/run/machine.request"
	} >"$work/enrol"
	answer=
	for _ in 1 2 3; do
		if answer=$(post /enroll "$work/enrol" 2>"$work/ask.error"); then break; fi
		sleep 2
	done
	case $answer in
	"key "*)
		address=${server#http://}
		address=${address%%/*}
		case $address in
		*:[0-9]*) address=${address%:*} ;;
		esac
		echo "https://$address:$(cat "$own/door-port")" >"$own/door"
		printf %s "${answer#key }" >"$work/enrolled"
		echo "enrolled with ${answer%"${answer#key ????????????????}"}"
		;;
	*)
		echo "not enrolled: ${answer:-$(tail -n 1 "$work/ask.error")}"
		rm -f "$own/machine.key"
		;;
	esac
}
