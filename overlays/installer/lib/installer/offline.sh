# shellcheck shell=sh
# A plan without a server: the planner that came on the medium decides, and a person says yes to it.

planner=${planner:-/run/planner}

open_planner() { # checks what the medium's description lists, then mounts the planner with the medium inside
	awk '$1 == "FILE" && $4 == "SHA256" { print $3, $5, $2 }' "$work/medium" >"$work/described"
	while read -r size sum path; do
		check_on_medium "$path" "$size" "$sum"
	done <"$work/described"
	mkdir -p "$planner"
	mount -t squashfs -o loop,ro "$medium/distserver/planner.sqfs" "$planner" ||
		fail "the planner cannot be mounted: does the kernel have squashfs and loop devices?"
	mount -o bind "$medium" "$planner/medium"
}

ask_planner() { # command ...: with the facts as its input
	env -i PATH=/usr/bin:/bin:/sbin LANG=C.UTF-8 \
		chroot "$planner" /usr/bin/python3 -B -m appliance.offline "$@" 2>"$work/planner.error"
}

plan_offline() { # leaves a checked plan that may be carried out; 1 when there is none
	facts >"$work/facts"
	[ "$(medium_value offline)" = yes ] || {
		say "the medium holds no packages: it is not one to install from without a server"
		return 1
	}
	step planner open_planner || return 1
	choose_offline || return 1
	hostname=$(offline_name)
	ask_planner plan "$chosen" "$hostname" <"$work/facts" >"$plan" || {
		say "no plan was made: $(tail -n 1 "$work/planner.error")"
		return 1
	}
	case $(head -n 1 "$plan") in
	"refused "*)
		say "refused: $(sed -n '1s/^refused //p' "$plan")"
		return 1
		;;
	esac
	problem=$(check_plan) || {
		say "the plan cannot be carried out: $problem"
		return 1
	}
	is_on_medium "$(plan_value base)" || {
		say "the plan cannot be carried out: its packages are not on the medium"
		return 1
	}
	ask_planner fingerprint <"$plan" >"$work/fingerprint" || return 1
	ask_planner describe "$chosen" "$hostname" <"$work/facts" | show
	echo "$chosen" >"$work/profile"
	is_agreed
}

offline_name() { # the server's names: what it was given, else `m` and the end of its MAC
	name=
	if is_machine_of_medium; then name=$(medium_value machine | cut -d ' ' -f 2); fi
	echo "${name:-m$(own_mac | tr -d : | tail -c 7)}"
}

choose_offline() { # the profile in $chosen: of the menu that was booted, of a rule, or of a person
	chosen=
	if is_machine_of_medium; then
		chosen=$(medium_value RELEASE | cut -d ' ' -f 2)
		say "profile $chosen: the medium was made for this machine"
	elif [ -n "$preselected" ]; then
		chosen=$preselected
		say "profile $chosen: chosen in the boot menu"
	else
		choose_by_rule || return 1
	fi
}

choose_by_rule() {
	said=$(ask_planner choose <"$work/facts") || {
		say "the planner failed: $(tail -n 1 "$work/planner.error")"
		return 1
	}
	case $said in
	"profile "*)
		said=${said#profile }
		chosen=${said%% *}
		say "profile $chosen: ${said#* }"
		;;
	*)
		say "${said#none }"
		ask_planner list >"$work/profiles" </dev/null || {
			say "the planner failed: $(tail -n 1 "$work/planner.error")"
			return 1
		}
		begin_dialogue
		while [ -z "$chosen" ]; do
			show_menu "$work/profiles"
			typed_line || continue
			chosen=$(menu_choice "$work/profiles" "$typed") || say "there is no profile '$typed'"
		done
		end_dialogue
		;;
	esac
}

is_agreed() { # by the making of an image for this machine alone, else by a person who types it
	if why=$(must_ask); then
		[ -z "$why" ] || say "$why"
		confirm
	else
		say "nobody is asked: the medium was made to install this machine"
	fi
}

confirm() {
	begin_dialogue
	say "type 'install' to begin, 'no' for a shell; nothing has been written yet"
	while :; do
		typed_line || continue
		case $typed in
		install)
			say "confirmed on the console"
			end_dialogue
			return 0
			;;
		no)
			end_dialogue
			return 1
			;;
		*) say "'$typed' is neither 'install' nor 'no'" ;;
		esac
	done
}
