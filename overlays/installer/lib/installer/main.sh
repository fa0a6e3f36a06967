# shellcheck shell=sh
# The order of things: medium, plan, release, then the plan line by line.

install_machine() { # returns only when it went wrong, with nothing left mounted
	mkdir -p "$work"
	begin_watch
	install_steps || unmount_target
	end_watch
}

install_steps() {
	mkdir -p "$work"
	rm -f "$work/secret" "$work/manifest" "$work/trees" "$work/events"
	if started_from_medium; then
		step medium open_medium || return 1
		use_its_card
	fi
	if [ -n "$offline" ]; then
		plan_offline || return 1
	else
		plan_online || return 1
	fi
	if is_wipe; then
		wipe_steps
		return
	fi
	step verify verify_all || return 1
	run_plan || return 1
	say "installed: restarting from the disk"
	reboot -f
}

verify_all() { # all that can be known before the disk is touched
	verify_release
	check_processor
	check_memory
	if has_containers && [ -n "$offline" ]; then
		fail "the server keeps the keys of encrypted disks: this machine cannot be installed without it"
	fi
	if is_on_medium "$(plan_value base)"; then inspect_medium; fi
	check_room
	if [ -n "$(plan_value programs)" ]; then take_programs "$(plan_value programs)"; fi
}

run_plan() { # lines that say how one step is done are gathered by that step
	partitioned=
	formatted=
	exec 3<"$plan"
	while read -r verb rest <&3; do
		case $verb in
		disk | sfdisk | unchanged)
			[ -n "$partitioned" ] || step partition partition_disks || return 1
			partitioned=1
			;;
		raid | vg | lv | luks | keep | mkfs | subvolume | mount)
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
