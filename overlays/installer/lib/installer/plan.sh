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

of_disk() { # device: a partition of the plan's one disk; sdaa is none of sda, nvme0n10 none of nvme0n1
	case $disk in
	*[0-9]) start=${disk}p ;;
	*) start=$disk ;;
	esac
	case $1 in
	"$start"[0-9] | "$start"[0-9][0-9]) return 0 ;;
	esac
	return 1
}

partitions_there() { # disk: those it has now
	disk=$1
	for device in "$disk"*; do
		if of_disk "$device"; then echo "$device"; fi
	done
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
	programs)
		{ words 1 $2 && plain "$2"; } || wrong "expected programs NAME" || return 1
		case $2 in
		*/*) wrong "$2 is not a release's file" ;;
		esac
		;;
	disk)
		{ words 1 $2 && plain "$2" && [ "${2#/dev/}" != "$2" ]; } || wrong "$2 is not a disk" || return 1
		case " $disks " in
		*" $2 "*) wrong "names $2 a second time" || return 1 ;;
		esac
		[ -z "$used" ] || wrong "names $2 when others are in use already" || return 1
		disk=$2
		disks="$disks $2"
		all_disks=${disks# }
		;;
	wipe)
		{ [ -n "$disk" ] && [ "$2" = "$disk" ]; } || wrong "cannot wipe $2, the disk is ${disk:-not named}"
		;;
	unchanged)
		{ [ -n "$disk" ] && [ "$2" = "$disk" ]; } || wrong "cannot leave $2, the disk is ${disk:-not named}" || return 1
		unchanged="$unchanged $2"
		;;
	sfdisk)
		[ -n "$disk" ] || wrong "sfdisk before disk" || return 1
		case " $unchanged " in
		*" $disk "*) wrong "the table of $disk is to stay" ;;
		esac
		;;
	raid | vg | lv | luks | keep | mkfs | subvolume | mount) check_device_line "$1" $2 ;;
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
		check_loader $2 || wrong "expected loader bios|uefi ${all_disks:-DISK}, came $2"
		;;
	finish) finished=1 ;;
	*) wrong "does not know $1" ;;
	esac
}

of_plan() { # device: a partition of one of the plan's disks, or what an earlier line made of these
	case " $made " in
	*" $1 "*) return 0 ;;
	esac
	last=$disk
	for disk in $disks; do
		if of_disk "$1"; then
			whole=$disk
			disk=$last
			return 0
		fi
	done
	disk=$last
	return 1
}

use_device() { # device: of the plan, and nothing else is made of it
	of_plan "$1" || wrong "$1 is not a partition of ${all_disks:-any disk}" || return 1
	case " $used " in
	*" $1 "*) wrong "$1 is used a second time" || return 1 ;;
	esac
	used="$used $1"
}

simple() { # a name of what is made
	case $1 in
	[a-z]*) ;;
	*) return 1 ;;
	esac
	case $1 in
	*[!a-z0-9_]*) return 1 ;;
	esac
}

number() {
	case $1 in
	'' | *[!0-9]*) return 1 ;;
	esac
}

check_loader() { # firmware, disks ...: all of the plan
	case $1 in
	bios | uefi) ;;
	*) return 1 ;;
	esac
	[ $# -ge 2 ] || return 1
	shift
	for one in "$@"; do
		case " $disks " in
		*" $one "*) ;;
		*) return 1 ;;
		esac
	done
}

check_device_line() { # verb, its words ...
	verb_now=$1
	shift
	for one in "$@"; do
		case $verb_now in
		mount | subvolume) ;;
		*) plain "$one" || wrong "$one is no plain word" || return 1 ;;
		esac
	done
	case $verb_now in
	raid) check_raid "$@" ;;
	vg)
		{ [ $# -ge 2 ] && simple "$1"; } || wrong "expected vg NAME DEVICE ..." || return 1
		groups="$groups $1"
		shift
		for one in "$@"; do use_device "$one" || return 1; done
		;;
	lv)
		{ words 3 "$@" && simple "$2" && number "$3"; } || wrong "expected lv GROUP NAME MIB" || return 1
		case " $groups " in
		*" $1 "*) make_known "/dev/mapper/$1-$2" ;;
		*) wrong "$1 is not a group of the plan" ;;
		esac
		;;
	luks)
		{ words 2 "$@" && simple "$2"; } || wrong "expected luks DEVICE NAME" || return 1
		use_device "$1" && make_known "/dev/mapper/$2"
		;;
	keep)
		words 3 "$@" || wrong "expected keep DEVICE TYPE LABEL" || return 1
		whole=
		use_device "$1" || return 1
		case " $unchanged " in
		*" ${whole:-none} "*) ;;
		*) wrong "cannot keep $1: the table of its disk is made anew" ;;
		esac
		;;
	mkfs)
		{ words 3 "$@" || { words 4 "$@" && [ "$4" = new ]; }; } || wrong "expected mkfs DEVICE TYPE LABEL" || return 1
		use_device "$1" || return 1
		case $2 in
		ext4 | xfs | btrfs | vfat | swap) ;;
		*) wrong "cannot make $2" ;;
		esac
		;;
	subvolume)
		{ words 2 "$@" && plain "$2"; } || wrong "expected subvolume DEVICE NAME" || return 1
		case $2 in
		*/* | .*) wrong "$2 is not a subvolume" || return 1 ;;
		esac
		{ grep -q "^mkfs $1 btrfs " "$plan" && of_plan "$1"; } || wrong "$1 is not a btrfs of the plan"
		;;
	mount)
		{ words 2 "$@" || words 3 "$@"; } || wrong "expected mount DEVICE PLACE" || return 1
		of_plan "$1" || wrong "$1 is not a partition of ${all_disks:-any disk}" || return 1
		place "$2" || wrong "cannot mount at $2" || return 1
		case ${3:-} in
		*[!A-Za-z0-9_:.=+@,-]*) wrong "cannot mount with $3" ;;
		esac
		;;
	esac
}

make_known() { # device that is made
	of_plan "$1" && { wrong "$1 is made a second time" || return 1; }
	made="$made $1"
}

check_raid() { # device, level, metadata, name, members ...
	[ $# -ge 6 ] && simple "$4" || wrong "expected raid DEVICE LEVEL METADATA NAME MEMBER MEMBER ..." || return 1
	case $2/$3 in
	[015]/1.2 | [015]/1.0 | [015]/0.90 | 10/1.2 | 10/1.0 | 10/0.90) ;;
	*) wrong "cannot make level $2 with metadata $3" || return 1 ;;
	esac
	case $1 in
	/dev/md[0-9] | /dev/md[0-9][0-9]) ;;
	*) wrong "$1 is not an array" || return 1 ;;
	esac
	new=$1
	shift 4
	for one in "$@"; do use_device "$one" || return 1; done
	make_known "$new"
}

check_wipe() { # a plan that wipes does that and nothing else
	for verb in report wipe finish; do
		grep -q "^$verb\( \|$\)" "$plan" || wrong "the plan has no $verb" || return 1
	done
	[ "$(grep -c '^disk ' "$plan")" = "$(grep -c '^wipe ' "$plan")" ] || wrong "not every disk is wiped" || return 1
	odd=$(awk '$1 !~ /^(plan|report|disk|wipe|finish)$/ { print $1; exit }' "$plan")
	[ -z "$odd" ] || wrong "has $odd, and wipes"
}

check_plan() { # prints what is wrong with the plan; 1 when anything is
	line=0
	disk=
	disks=
	all_disks=
	unchanged=
	used=
	made=
	groups=
	finished=
	while read -r verb rest; do
		line=$((line + 1))
		[ -n "$verb" ] || continue
		[ -z "$finished" ] || wrong "comes after finish" || return 1
		check_line "$verb" "$rest" || return 1
	done <"$plan"
	[ "$(head -n 1 "$plan")" = "plan 1" ] || wrong "the first line is not plan 1" || return 1
	if [ -n "$(plan_value wipe)" ]; then
		check_wipe
		return
	fi
	for verb in report release base pool hostname disk kernel loader finish; do
		grep -q "^$verb\( \|$\)" "$plan" || wrong "the plan has no $verb" || return 1
	done
	[ "$(awk '$1 == "mount" { print $3; exit }' "$plan")" = / ] || wrong "the first mount is not /"
}
