# shellcheck shell=sh
# Everything a plan needs from a medium is read and compared before the disk is touched.

block_bytes=65536
piece_blocks=64

check_on_medium() { # path on it, size, SHA-256: ends the step with the file's name when it is not that
	[ -f "$medium/$1" ] || fail "$(what_of_medium "$1")"
	came=$(file_size "$medium/$1")
	[ "$came" = "$2" ] || fail "$1 on the medium has $came bytes, expected $2: write the medium again"
	sum=$(read_in_pieces "$medium/$1" "$2" | sha256sum | cut -d ' ' -f 1)
	[ "$sum" = "$3" ] && return 0
	[ ! -e "$work/unreadable" ] || fail "$(what_of_medium "$1")"
	fail "$1 on the medium is damaged: SHA256 $sum, expected $3; write the medium again"
}

read_in_pieces() { # file, size: its bytes, and how far this is on descriptor 3
	at=0
	rm -f "$work/unreadable"
	while [ $((at * block_bytes)) -lt "$2" ]; do
		# Many small blocks: what cannot be read ends one early, and only the next read is an error.
		dd if="$1" bs="$block_bytes" skip="$at" count="$piece_blocks" 2>/dev/null || {
			echo "$1" >"$work/unreadable"
			return 0
		}
		at=$((at + piece_blocks))
		tell_progress $((at * block_bytes < $2 ? at * block_bytes : $2))
	done
}

tell_progress() { # bytes of the file that is being read: a line for every twentieth of all
	[ "${all_bytes:-0}" -gt 0 ] || return 0
	percent=$(((before_bytes + $1) * 100 / all_bytes))
	[ $((percent / 5)) -gt $((told_percent / 5)) ] || return 0
	told_percent=$percent
	echo "checking the medium: $percent %" >&3
}

list_release() { # SIZE SHA256 PATH of each file and package of the release, the smallest first
	base=$(plan_value base)
	pool=$(plan_value pool)
	awk -v base="${base#file://"$medium"/}" -v pool="${pool#file://"$medium"}" '
		$1 == "FILE" && $4 == "SHA256" { print $3, $5, base "/" $2, $2 }
		$1 == "PACKAGE" && $4 == "SHA256" {
			if (pool != "") sub(/\/?$/, "/", pool)
			print $3, $5, pool "pool/" substr($5, 1, 2) "/" $5 ".gpkg.tar", $2
		}' "$work/manifest" | sort -n
}

inspect_medium() { # the whole release, before anything is written
	list_release >"$work/inspected"
	all_bytes=$(awk '{ sum += $1 } END { printf "%.0f\n", sum }' "$work/inspected")
	before_bytes=0
	exec 3>&1
	while read -r size sum path name; do
		told_percent=$((before_bytes * 100 / (all_bytes + 1)))
		(check_on_medium "$path" "$size" "$sum") || fail "$name is not what the release says: nothing was written"
		before_bytes=$((before_bytes + size))
	done <"$work/inspected"
	exec 3>&-
	count_bytes "$all_bytes"
	echo "$(wc -l <"$work/inspected") files of the medium are what the release says"
}
