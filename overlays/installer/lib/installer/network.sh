# shellcheck shell=sh
# An address from DHCP on whichever NIC answers first.

net=${net:-/sys/class/net}
nic=

list_nics() { # those with hardware behind them; the one that booted first
	for path in "$net"/*; do
		[ -e "$path/device" ] || continue
		[ "$(cat "$path/address")" = "$boot_nic" ] && echo "${path##*/}"
	done
	for path in "$net"/*; do
		[ -e "$path/device" ] || continue
		[ "$(cat "$path/address")" = "$boot_nic" ] || echo "${path##*/}"
	done
}

connect() { # does not return until a NIC has an address
	ip link set lo up
	round=0
	while :; do
		round=$((round + 1))
		names=$(list_nics)
		[ -n "$names" ] || say "no network card found (round $round): its driver may be missing"
		for name in $names; do
			ip link set "$name" up
		done
		for name in $names; do
			say "asking for an address on $name ($(cat "$net/$name/address")), round $round"
			# It stays in the background afterwards and renews the lease.
			if udhcpc -i "$name" -n -t 4 -T 2 -A 1 -s /etc/udhcpc.script >/dev/null 2>&1; then
				nic=$name
				say "$nic has $(ip -4 addr show dev "$nic" | awk '$1 == "inet" { print $2; exit }')"
				return 0
			fi
			say "no answer on $name"
		done
		sleep 2
	done
}
