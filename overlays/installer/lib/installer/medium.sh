# shellcheck shell=sh
# The CD or USB stick this was started from: found, checked, and never taken for a disk to install on.

medium=${medium:-/run/medium}
medium_type=${medium_type:-iso9660}
medium_seconds=${medium_seconds:-60}

medium_value() { # word: what stands behind it in the medium's description
	awk -v word="$1" '$1 == word { sub(/^[^ ]+ ?/, ""); print; exit }' "$work/medium"
}

started_from_medium() {
	[ -n "$medium_id" ]
}

open_medium() { # finds it, mounts it, and believes what it says of itself only with the release key's signature
	close_medium
	await_medium ||
		fail "the medium $medium_id did not appear in $medium_seconds s among" "$(block_names | tr '\n' ' ')"
	check_description
	echo "medium $medium_id on /dev/$(cat "$work/medium.device"): signature good" | tee "$work/said"
}

close_medium() {
	rm -f "$work/medium" "$work/medium.device"
	for where in $(mounts_below "$planner") $(mounts_below "$medium"); do
		umount "$where" 2>/dev/null || umount -l "$where"
	done
}

await_medium() { # a stick takes seconds to be known after the kernel began
	tries=$medium_seconds
	until find_medium; do
		tries=$((tries - 1))
		[ "$tries" -gt 0 ] || return 1
		[ $((tries % 10)) -ne 0 ] || echo "waiting for the medium $medium_id"
		sleep 1
	done
}

block_names() { # whole disks and drives first: the file system of a hybrid image begins where the disk does
	for path in "$sys"/class/block/*; do
		[ -e "$path/partition" ] || echo "${path##*/}"
	done
	for path in "$sys"/class/block/*/partition; do
		[ -e "$path" ] && basename "${path%/partition}"
	done
	return 0
}

find_medium() {
	for name in $(block_names); do
		if holds_medium "$name"; then
			echo "$name" >"$work/medium.device"
			return 0
		fi
	done
	return 1
}

holds_medium() { # name: it stays mounted when it does
	[ "$(read_or_nothing "$sys/class/block/$1/size")" != 0 ] || return 1
	mkdir -p "$medium"
	mount -t "$medium_type" -o ro "$devices/$1" "$medium" 2>/dev/null || return 1
	[ ! -e "$medium/distserver/id-$medium_id" ] || return 0
	umount "$medium"
	return 1
}

check_description() {
	cat "$medium/distserver/medium" >"$work/medium.text" 2>/dev/null ||
		fail "$medium_id holds no description: $(what_of_medium distserver/medium)"
	if ! "$tools/gpgv" --ignore-time-conflict --keyring "$key" "$medium/distserver/medium.sig" \
		"$work/medium.text" >"$work/gpgv" 2>&1; then
		cat "$work/gpgv"
		fail "the signature of the medium's description is not good: nothing on it is used"
	fi
	[ "$(head -n 1 "$work/medium.text")" = "distserver-medium 1" ] ||
		fail "the medium's description is not of form 1"
	said=$(sed -n '2s/^id //p' "$work/medium.text")
	counted=$(sed 1,2d "$work/medium.text" | sha256sum | cut -c 1-16)
	[ "$said $counted" = "$medium_id $medium_id" ] ||
		fail "the medium says it is $said, its text is that of $counted, expected $medium_id"
	mv "$work/medium.text" "$work/medium"
}

medium_disk() { # the whole disk that the medium is, which is no place to install
	name=$(read_or_nothing "$work/medium.device")
	if [ -n "$name" ] && [ -e "$sys/class/block/$name/partition" ]; then
		basename "$(dirname "$(readlink -f "$sys/class/block/$name")")"
	else
		echo "$name"
	fi
}

medium_answers() { # a sector is read from the drive itself, not from what was remembered of it
	device=$devices/$(read_or_nothing "$work/medium.device")
	[ -b "$device" ] || return 1
	dd if="$device" of=/dev/null bs=4096 skip=8 count=1 iflag=direct 2>"$work/answer" ||
		! grep -qi -e "error" -e "medium" -e "no such device" "$work/answer"
}

what_of_medium() { # path on it: why it cannot be read, for a person
	if ! medium_answers; then
		echo "the medium $medium_id was taken out or does not answer any more; put it back and type 'retry'"
	elif [ ! -e "$medium/$1" ]; then
		echo "$1 is missing on the medium: write it again"
	else
		echo "$1 cannot be read from the medium: it is damaged or cut short; write it again"
	fi
}

is_on_medium() { # URL or plan's base: served by the medium itself
	case $1 in
	"file://$medium/"* | "file://$medium") return 0 ;;
	esac
	return 1
}

copy_from_medium() { # URL, file
	path=${1#file://"$medium"/}
	cat "$medium/$path" >"$2" 2>"$work/copy" && return 0
	! grep -q "No space left" "$work/copy" || fail "$path has no room on the disk"
	fail "$(what_of_medium "$path")"
}

wait_without_medium() { # reason: this machine boots from its own disk as soon as nothing else is in front of it
	say "$1: take the medium out, then this machine restarts from its disk"
	umount "$medium" 2>/dev/null || true
	for _ in 1 2 3 4 5; do
		if ! medium_answers; then
			say "the medium is out: restarting from the disk"
			reboot -f
		fi
		sleep 2
	done
}
