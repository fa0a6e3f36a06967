# shellcheck shell=sh
# The order of things: network, question, plan, release, then the plan line by line.

install_machine() { # returns only when it went wrong, with nothing left mounted
	install_steps || unmount_target
}

install_steps() {
	mkdir -p "$work"
	rm -f "$work/secret" "$work/manifest" "$work/trees"
	[ -n "$server" ] || {
		say "no distserver=URL among the kernel's arguments"
		return 1
	}
	begun_network=$(uptime_seconds)
	[ -n "$nic" ] || connect
	seconds_network=$(awk -v a="$begun_network" -v b="$(uptime_seconds)" 'BEGIN { printf "%.1f\n", b - a }')
	facts >"$work/facts"
	wait_for_plan || return 1
	event network "done" "$nic" "$seconds_network" || return 1
	event plan "done" "$(grep -v '^report ' "$plan")" || return 1
	step verify verify_release || return 1
	run_plan || return 1
	say "installed: restarting from the disk"
	reboot -f
}

wait_for_plan() { # a token may be too old, or its answer got lost on the way: the server then wants to be asked again
	while :; do
		[ -n "$token" ] || ask_for_token || return 1
		get_plan && return 0
		[ "$again" ] || return 1
		say "asking again: $again"
		sleep 2
	done
}

ask_for_token() {
	while :; do
		answer=$(ask /hello "$work/facts")
		case $answer in
		"install "*)
			token=${answer#install }
			return 0
			;;
		"wait "*) wait_as_told "${answer#wait }" ;;
		"local "*)
			say "${answer#local }: restarting from the disk"
			sleep 3
			reboot -f
			;;
		*)
			say "the server's answer is not known: $answer"
			sleep 10
			;;
		esac
	done
}

wait_as_told() { # "SECONDS REASON"
	pause=${1%% *}
	case $pause in
	'' | *[!0-9]*) pause=10 ;;
	esac
	[ "$pause" -le 600 ] || pause=600
	say "waiting $pause s: ${1#* }"
	sleep "$pause"
	# A disk or a card may have been added meanwhile.
	facts >"$work/facts"
}

get_plan() {
	{
		echo "token $token"
		cat "$work/facts"
	} >"$work/request"
	ask /plan "$work/request" >"$plan"
	token=
	again=
	case $(head -n 1 "$plan") in
	"again "*)
		again=$(sed -n '1s/^again //p' "$plan")
		return 1
		;;
	"refused "*)
		say "refused: $(sed -n '1s/^refused //p' "$plan")"
		return 1
		;;
	esac
	plan_value report >"$work/secret"
	problem=$(check_plan) && return 0
	say "the plan cannot be carried out: $problem"
	event plan failed "$problem"
	return 1
}

run_plan() { # lines that say how one step is done are gathered by that step
	partitioned=
	formatted=
	exec 3<"$plan"
	while read -r verb rest <&3; do
		case $verb in
		disk | sfdisk)
			[ -n "$partitioned" ] || step partition partition_disk || return 1
			partitioned=1
			;;
		mkfs | mount)
			[ -n "$formatted" ] || step filesystems make_filesystems || return 1
			formatted=1
			;;
		*) run_line "$verb" "$rest" || return 1 ;;
		esac
	done
	exec 3<&-
}

run_line() { # verb, rest
	# shellcheck disable=SC2086 # the words of a line
	case $1 in
	unpack) step "$(stage_of "$2")" unpack "$2" ;;
	tree) step portage keep_tree $2 ;;
	packages) step packages install_packages $2 ;;
	kernel) step kernel check_kernel "$2" ;;
	loader) step loader install_loader $2 ;;
	finish) step finish close_target ;;
	esac
}

stage_of() { # an archive: the step's name is the archive's own
	echo "${1%%.*}"
}
