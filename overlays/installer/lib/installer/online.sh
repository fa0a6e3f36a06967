# shellcheck shell=sh
# A plan from the server, which is asked until it gives one; a person may choose the profile meanwhile.

plan_online() {
	[ -n "$server" ] || {
		say "no distserver=URL among the kernel's arguments"
		return 1
	}
	begun_network=$(uptime_seconds)
	[ -n "$nic" ] || connect
	seconds_network=$(seconds_since "$begun_network")
	facts >"$work/facts"
	chosen=$preselected
	wait_for_plan || return 1
	event network "done" "$nic" "$seconds_network" || return 1
	event plan "done" "$(grep -v '^report ' "$plan")"
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
		{
			cat "$work/facts"
			[ -z "$chosen" ] || echo "choose $chosen"
		} >"$work/question"
		answer=$(ask /hello "$work/question")
		case $answer in
		"install "*)
			end_dialogue
			token=${answer#install }
			return 0
			;;
		"wait "*) wait_as_told "${answer#wait }" ;;
		"local "*) boot_disk "${answer#local }" ;;
		*)
			say "the server's answer is not known: $answer"
			sleep 10
			;;
		esac
	done
}

boot_disk() { # reason
	end_dialogue
	if started_from_medium; then
		wait_without_medium "$1"
	else
		say "$1: restarting from the disk"
		sleep 3
		reboot -f
	fi
}

wait_as_told() { # "SECONDS REASON"
	pause=${1%% *}
	case $pause in
	'' | *[!0-9]*) pause=10 ;;
	esac
	[ "$pause" -le 600 ] || pause=600
	case $1 in
	# So ends what appliance/match.py and boot.py say of a machine that needs somebody to choose its profile.
	*": assign a profile" | *": assign one" | *": choose another") offer_profiles "${1#* }" ;;
	*)
		end_dialogue
		say "waiting $pause s: ${1#* }"
		sleep "$pause"
		;;
	esac
	# A disk or a card may have been added meanwhile.
	facts >"$work/facts"
}

offer_profiles() { # reason: the server goes on being asked, since somebody may choose there
	# What was typed or booted with the menu is not what the server has.
	if [ -n "$chosen" ] && [ -n "$listeners" ]; then say "$1"; fi
	chosen=
	if [ -z "$listeners" ]; then
		say "waiting: $1"
		get_profiles || {
			sleep "$pause"
			return 0
		}
		begin_dialogue
		show_menu "$work/profiles"
	fi
	typed_line "$pause" || return 0
	chosen=$(menu_choice "$work/profiles" "$typed") || say "there is no profile '$typed'"
}

get_profiles() { # 1 when there are none to choose from
	timeout "$post_seconds" wget -q -O "$work/profiles" "$server/profiles" 2>/dev/null && [ -s "$work/profiles" ]
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
