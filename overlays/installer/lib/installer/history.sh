# shellcheck shell=sh
# Events of an installation without a server: kept, and left on the machine for its first report.

keep_event() { # stage, status, message [, seconds [, bytes]]: one line, as appliance/first_report.py reads it
	case $2 in
	begin | note) return 0 ;;
	esac
	echo "$(date +%s) $1 $2 ${4:--} ${5:--} $(printf '%s\n' "$3" | tail -n 1 | one_line)" >>"$work/events"
}

leave_report() { # when the last step began
	place=$kept/report
	rm -rf "$place"
	mkdir -p "$place"
	chmod 700 "$place"
	facts_now >"$place/facts"
	cp "$work/events" "$place/events"
	echo "$(date +%s) finish done $(seconds_since "$1") - " >>"$place/events"
	cat "$medium/distserver/credential" >"$place/credential" ||
		fail "$(what_of_medium distserver/credential)"
	{
		echo "medium $medium_id"
		echo "nonce $(head -c 16 /dev/urandom | od -An -t x1 | tr -d ' \n')"
		echo "release $(plan_value release)"
		echo "profile $(cat "$work/profile")"
		echo "hostname $(plan_value hostname)"
		echo "fingerprint $(cat "$work/fingerprint")"
		if is_machine_of_medium; then echo "token $(medium_value token)"; fi
	} >"$place/head"
	chmod 600 "$place"/*
}

facts_now() { # those the plan was made of, but for what its disk holds since it was carried out
	disk=$(plan_value disk)
	awk -v disk="$disk" '!($1 == "table" && $2 == disk) && !($1 == "part" && $3 == disk)' "$work/facts"
	now=$(contents_facts "${disk##*/}" "$most_partitions") || now=
	[ -z "$now" ] || echo "$now"
}

seconds_since() { # uptime
	awk -v a="$1" -v b="$(uptime_seconds)" 'BEGIN { printf "%.1f\n", b - a }'
}
