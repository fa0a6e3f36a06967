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

stop_here() { # a shell on every console, for ever: the machine never restarts by itself
	say "this machine is not installed. 'retry' starts again, 'reboot -f' restarts the machine."
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
