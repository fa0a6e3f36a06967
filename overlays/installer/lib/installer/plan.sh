# shellcheck shell=sh
# Reading a plan: the whole of it is checked before its first step runs.

plan=${plan:-/run/installer/plan}

plan_value() { # verb: what stands behind it the first time
	awk -v verb="$1" '$1 == verb { sub(/^[^ ]+ ?/, ""); print; exit }' "$plan"
}

wrong() {
	echo "plan line $line: $*"
	return 1
}

words() { # wanted count, words ...
	wanted=$1
	shift
	[ $# -eq "$wanted" ]
}

plain() { # a word that needs no quoting anywhere
	case $1 in
	'' | *[!A-Za-z0-9@:/._+-]*) return 1 ;;
	esac
}

of_disk() { # device: a partition of the plan's one disk
	case $1 in
	"$disk"[0-9] | "$disk"[0-9][0-9] | "$disk"p[0-9] | "$disk"p[0-9][0-9]) return 0 ;;
	esac
	return 1
}

place() { # an absolute path without tricks
	case $1 in
	*/../* | */.. | *//*) return 1 ;;
	/*) plain "$1" ;;
	*) return 1 ;;
	esac
}

check_line() { # verb, rest
	# shellcheck disable=SC2086 # the words of a line
	case $1 in
	plan) [ "$2" = 1 ] || wrong "expected plan 1, came plan $2" ;;
	report | release | base | pool | hostname)
		{ words 1 $2 && plain "$2"; } || wrong "expected one plain word after $1"
		;;
	disk)
		[ -z "$disk" ] || wrong "names a second disk" || return 1
		disk=$2
		{ words 1 $2 && plain "$2" && [ "${2#/dev/}" != "$2" ]; } || wrong "$2 is not a disk"
		;;
	sfdisk) [ -n "$disk" ] || wrong "sfdisk before disk" ;;
	mkfs)
		set -- $2
		words 3 "$@" || wrong "expected mkfs DEVICE TYPE LABEL" || return 1
		of_disk "$1" || wrong "$1 is not a partition of ${disk:-any disk}" || return 1
		case $2 in
		ext4 | vfat | swap) ;;
		*) wrong "cannot make $2" ;;
		esac
		;;
	mount)
		set -- $2
		words 2 "$@" || wrong "expected mount DEVICE PLACE" || return 1
		of_disk "$1" || wrong "$1 is not a partition of ${disk:-any disk}" || return 1
		place "$2" || wrong "cannot mount at $2"
		;;
	unpack)
		{ words 1 $2 && plain "$2"; } || wrong "expected unpack NAME" || return 1
		case $2 in
		*/*) wrong "$2 is not a release's file" ;;
		esac
		;;
	tree)
		set -- $2
		{ words 2 "$@" && plain "$1" && plain "$2"; } || wrong "expected tree FILE NAME"
		;;
	packages) [ -n "$2" ] || wrong "expected packages" ;;
	kernel) ;;
	loader)
		case $2 in
		"bios $disk" | "uefi $disk") ;;
		*) wrong "expected loader bios|uefi ${disk:-DISK}, came $2" ;;
		esac
		;;
	finish) finished=1 ;;
	*) wrong "does not know $1" ;;
	esac
}

check_plan() { # prints what is wrong with the plan; 1 when anything is
	line=0
	disk=
	finished=
	while read -r verb rest; do
		line=$((line + 1))
		[ -n "$verb" ] || continue
		[ -z "$finished" ] || wrong "comes after finish" || return 1
		check_line "$verb" "$rest" || return 1
	done <"$plan"
	[ "$(head -n 1 "$plan")" = "plan 1" ] || wrong "the first line is not plan 1" || return 1
	for verb in report release base pool hostname disk kernel loader finish; do
		grep -q "^$verb\( \|$\)" "$plan" || wrong "the plan has no $verb" || return 1
	done
	[ "$(awk '$1 == "mount" { print $3; exit }' "$plan")" = / ] || wrong "the first mount is not /"
}
