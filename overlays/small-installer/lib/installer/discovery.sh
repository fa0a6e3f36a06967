# shellcheck shell=sh
# Tells the server what this machine is. It goes on telling until somebody says at the ok prompt what to do.

work=${work:-/run/installer}

medium_disk() { # the disk this was started from: it was no disk
	:
}

probe() { # busybox alone cannot tell an empty disk from one that it does not know: nothing is said of what is on it
	return 1
}

discover() {
	connect
	while tell; do
		sleep "$pause"
	done
}

tell() {
	facts >"$work/facts"
	hear "$(ask /hello "$work/facts")"
}

hear() { # the server's answer; sets pause, the seconds until it is asked again
	pause=30
	case $1 in
	"install "*) say "it may be installed: boot it with disk=, medium= and sums=" ;;
	"wait "*)
		said=${1#wait }
		pause=${said%% *}
		say "waiting: ${said#* }"
		;;
	*) say "the server says: $1" ;;
	esac
	case $pause in
	'' | *[!0-9]*) pause=30 ;;
	esac
	[ "$pause" -le 600 ] || pause=600
}
