# shellcheck shell=sh
# What is said goes to every console the kernel was given; so does a shell when nothing else is left.

devices=${devices:-/dev}
consoles=$devices/console

open_consoles() {
	consoles=
	# The kernel lists the consoles it writes to, e.g. "tty0 ttyS0".
	for name in $(cat "$sys/class/tty/console/active" 2>/dev/null); do
		[ -c "$devices/$name" ] && consoles="$consoles $devices/$name"
	done
	[ -n "$consoles" ] || consoles=$devices/console
}

show() { # copies its input to every console
	# shellcheck disable=SC2086 # a list of names without blanks
	tee $consoles >/dev/null 2>&1
}

say() {
	echo "distserver: $*" | show
}

stop_here() {
	say "this machine is not installed. 'retry' starts again, 'reboot -f' restarts the machine."
	keep_shells
}

rescue() { # for a person: with a network if there is one, and nothing is mounted or written
	say "rescue: a shell on every console; nothing is written by itself, 'reboot -f' restarts the machine."
	tell_of_rescue &
	keep_shells
}

tell_of_rescue() { # so that the server lets the machine start as before after this
	# What is said of the tries would cut through what the person types.
	consoles=/dev/null
	connect
	{ [ -n "$server" ] && [ -n "$token" ]; } || return 0
	mkdir -p "$work"
	facts >"$work/rescue"
	echo "rescue $token" >>"$work/rescue"
	ask /hello "$work/rescue" >"$work/rescue.answer"
}

keep_shells() { # a shell on every console, for ever: the machine never restarts by itself
	for place in $consoles; do
		keep_shell "$place" &
	done
	while :; do
		wait
		sleep 3600
	done
}

keep_shell() {
	while :; do
		setsid -c sh -l <>"$1" >&0 2>&1
		sleep 1
	done
}
