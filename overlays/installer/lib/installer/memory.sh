# shellcheck shell=sh
# Memory: the plan's swap is used as soon as it is made, and the most that was ever needed is told.

swap_on() { # a machine of little memory may need it for the very next step
	for device in $(awk '$1 == "mkfs" && $3 == "swap" { print $2 }' "$plan"); do
		swapon "$device" 2>/dev/null || echo "$device: the kernel takes no swap"
	done
}

check_memory() { # said before anything is written, instead of a program that is killed half-way
	# What Portage and all it starts need at a time was measured (docs/small-memory.md); of 64 bits it is half more.
	case ${processor:-$(uname -m)} in
	*64*) need=${need_mib:-72} ;;
	*) need=${need_mib:-48} ;;
	esac
	left=$(awk '$1 == "MemAvailable:" { print int($2 / 1024) }' "${proc:-/proc}/meminfo")
	swap=$(awk '$1 == "sfdisk" && /type=(S|82)[, ]*/ && match($0, /size=[0-9]+MiB/) {
		sum += substr($0, RSTART + 5, RLENGTH - 8)
	} END { print sum + 0 }' "$plan")
	[ $((left + swap)) -ge "$need" ] ||
		fail "this machine has too little memory: $left MiB are left and the plan has $swap MiB of swap," \
			"packages need $need MiB; nothing was written"
}

swap_off() { # of what an earlier try switched on
	for device in $(awk 'NR > 1 { print $1 }' "${proc:-/proc}/swaps" 2>/dev/null); do
		swapoff "$device" 2>/dev/null || true
	done
}

begin_watch() {
	rm -rf "$work/memory"
	mkdir -p "$work/memory"
	watch_memory </dev/null >/dev/null 2>&1 &
	watch=$!
}

end_watch() {
	kill "$watch" 2>/dev/null || true
}

watch_memory() { # for ever: once a second what is in use, for each step the most of it; nothing is started for it
	most=0
	swapped=0
	before=
	while :; do
		now=start
		[ ! -e "$work/stage" ] || read -r now <"$work/stage"
		if [ "$now" != "$before" ]; then
			before=$now
			most=0
			swapped=0
		fi
		look_at_memory
		sleep "${memory_seconds:-1}"
	done
}

look_at_memory() { # in KiB; MemAvailable is what could be had without swapping (proc(5))
	while read -r name value _; do
		case $name in
		MemTotal:) total=$value ;;
		MemAvailable:) used=$((total - value)) ;;
		SwapTotal:) swap=$value ;;
		SwapFree:) swap=$((swap - value)) ;;
		esac
	done <"${proc:-/proc}/meminfo"
	[ "$used" -gt "$most" ] || [ "$swap" -gt "$swapped" ] || return 0
	[ "$used" -le "$most" ] || most=$used
	[ "$swap" -le "$swapped" ] || swapped=$swap
	echo "$most $swapped $total" >"$work/memory/$now"
}

memory_said() { # memory: packages 97 MiB and 31 MiB of swap, stage 60 MiB; of 118 MiB
	[ -d "$work/memory" ] || return 0
	for file in "$work"/memory/*; do
		[ ! -s "$file" ] || echo "${file##*/} $(cat "$file")"
	done | sort -k 2nr | awk '
		function mib(kib) { return int((kib + 1023) / 1024) " MiB" }
		{
			said = said (NR == 1 ? "" : ", ") $1 " " mib($2) ($3 > 0 ? " and " mib($3) " of swap" : "")
			total = $4
		}
		END { if (NR) print "memory: " said "; of " mib(total) }'
}
