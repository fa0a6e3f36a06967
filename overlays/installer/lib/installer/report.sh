# shellcheck shell=sh
# Questions and events to the server. A server that is away for a while is waited for.

work=${work:-/run/installer}
post_seconds=${post_seconds:-30}
longest_wait=${longest_wait:-15}

grow() { # the next wait after one of $1 seconds
	next=$(($1 * 2))
	[ "$next" -le "$longest_wait" ] || next=$longest_wait
	echo "$next"
}

post() { # path, file with the body: prints the answer
	# wget alone has no time-out: a server that vanished would hold it for ever.
	# By its path: on SPARC the C library of a static busybox finds no program by its name alone (ENAMETOOLONG).
	timeout "$post_seconds" "$(command -v wget)" -q -O - --header "Content-Type: text/plain" --post-file "$2" "$server$1"
}

ask() { # path, file: like post, but tries until there is an answer
	pause=1
	while :; do
		if answer=$(post "$1" "$2" 2>"$work/ask.error") && [ -n "$answer" ]; then
			echo "$answer"
			return 0
		fi
		say "no answer from $server$1 ($(tail -n 1 "$work/ask.error")), next try in $pause s"
		sleep "$pause"
		pause=$(grow "$pause")
	done
}

event() { # stage, status, message [, seconds [, bytes]]; 1 when the server says stop
	if [ -n "$offline" ]; then
		keep_event "$@"
		return 0
	fi
	[ -s "$work/secret" ] || return 0
	{
		echo "report $(cat "$work/secret")"
		echo "stage $1"
		echo "status $2"
		[ -z "$4" ] || echo "seconds $4"
		[ -z "$5" ] || echo "bytes $5"
		echo
		printf '%s\n' "$3"
	} >"$work/event.$$"
	send_event "$2" "$work/event.$$"
}

send_event() { # status, file: notes are sent once, the others for as long as it may take to restart a server
	tries=12
	[ "$1" = note ] && tries=1
	pause=1
	while [ "$tries" -gt 0 ]; do
		if answer=$(post /event "$2" 2>/dev/null); then
			case $answer in
			stop*)
				say "the server says stop: ${answer#stop }"
				return 1
				;;
			esac
			return 0
		fi
		tries=$((tries - 1))
		[ "$tries" -gt 0 ] || break
		sleep "$pause"
		pause=$(grow "$pause")
	done
	[ "$1" = note ] || say "the server took no event, going on"
	return 0
}

uptime_seconds() {
	cut -d ' ' -f 1 /proc/uptime
}

step() { # stage, function ...: runs it, output to the consoles and a log, events around it
	stage=$1
	shift
	say "$stage"
	echo "$stage" >"$work/stage"
	event "$stage" begin "" || return 1
	begun=$(uptime_seconds)
	rm -f "$work/bytes"
	{
		"$code/step" "$@" 2>&1
		echo $? >"$work/status"
	} | tee "$work/log" | show
	seconds=$(seconds_since "$begun")
	if [ "$(cat "$work/status")" = 0 ]; then
		event "$stage" "done" "$(cat "$work/said" 2>/dev/null)" "$seconds" "$(cat "$work/bytes" 2>/dev/null)" || return 1
		rm -f "$work/said"
		return 0
	fi
	rm -f "$work/said"
	explain_failure | tee -a "$work/log" | show
	say "$stage failed after $seconds s"
	event "$stage" failed "$(tail -n 40 "$work/log")" "$seconds"
	return 1
}

note() { # stage, message
	event "$1" note "$2"
}

fail() { # says why and ends the step
	echo "$*" >&2
	exit 1
}
