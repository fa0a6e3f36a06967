# shellcheck shell=sh
# Questions to a person in front of the machine, asked on every console at once. Nothing is chosen by waiting.

# A person who typed `retry` has a shell on the other consoles, which would take part of the lines.
asked=${asked:-}

begin_dialogue() { # lines that are typed on any console come on descriptor 4
	[ -z "$listeners" ] || return 0
	rm -f "$work/typed"
	mkfifo "$work/typed"
	# Read and write: an end that nobody writes to would be the end of the file.
	exec 4<>"$work/typed"
	for place in ${asked:-$consoles}; do
		listen "$place" &
		listeners="$listeners $!"
	done
}

listen() { # console
	while :; do
		while IFS= read -r line; do
			printf '%s\n' "$line" >"$work/typed"
		done 2>/dev/null <"$1"
		# A serial line that hung up has an end at once.
		sleep 1
	done
}

end_dialogue() {
	# shellcheck disable=SC2086 # a list of numbers
	[ -z "$listeners" ] || kill $listeners
	listeners=
	exec 4<&-
}

typed_line() { # [seconds]: the next line in $typed, without blanks around; 1 when none came in time
	typed=
	if [ -n "$1" ]; then
		# shellcheck disable=SC3045 # busybox has it
		read -r -t "$1" typed <&4
	else
		read -r typed <&4
	fi || return 1
	typed=$(printf '%s' "$typed" | tr -d '\r' | tr -c ' -~' '?')
}

show_menu() { # file of NAME<TAB>DESCRIPTION lines
	say "which profile shall this machine have?"
	awk -F '\t' '{ printf "  %d  %s%s\n", NR, $1, $2 == "" ? "" : ": " $2 }' "$1" | show
	say "type a number or a name; nothing is chosen by waiting"
}

menu_choice() { # file, what was typed: the name it stands for; 1 when it stands for none
	awk -F '\t' -v typed="$2" 'typed != "" && (NR == typed || $1 == typed) { print $1; found = 1; exit }
		END { exit !found }' "$1"
}
