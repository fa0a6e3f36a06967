# shellcheck shell=sh
# A release's signed manifest, and files that are what it says.

key=${key:-/etc/distserver/release-key.gpg}
fetch_tries=${fetch_tries:-60}
fetch_seconds=${fetch_seconds:-600}

download() { # URL, file: resumes, and waits for a server that is away; a medium is read at once or never
	if is_on_medium "$1"; then
		copy_from_medium "$1" "$2"
		return 0
	fi
	tries=$fetch_tries
	pause=1
	while :; do
		before=$(file_size "$2")
		if timeout "$fetch_seconds" wget -q -c --header "X-Waits: 1" -O "$2" "$1" 2>"$work/wget.error"; then
			return 0
		fi
		if seconds=$(told_to_wait); then
			echo "fetching $1: others come first; again in $seconds s"
			sleep "$seconds"
			continue
		fi
		# Octets that arrived are progress: the count of tries starts again.
		if [ "$(file_size "$2")" -gt "$before" ]; then
			tries=$fetch_tries
			pause=1
		fi
		tries=$((tries - 1))
		[ "$tries" -gt 0 ] || fail "$1 cannot be fetched: $(tail -n 1 "$work/wget.error")"
		echo "fetching $1: $(tail -n 1 "$work/wget.error"); next try in $pause s"
		sleep "$pause"
		pause=$(grow "$pause")
	done
}

told_to_wait() { # how many seconds, when the server said so; busybox wget shows an error's first line only
	said=$(sed -n 's/.* 503 Come Again In \([0-9]\{1,3\}\)[^0-9]*$/\1/p' "$work/wget.error")
	[ -n "$said" ] && echo "$said"
}

file_size() {
	if [ -e "$1" ]; then
		# `wc -c` of busybox reads the whole file.
		stat -L -c %s "$1"
	else
		echo 0
	fi
}

sha256_of() {
	sha256sum "$1" | cut -d ' ' -f 1
}

verify_release() { # fetches the manifest, checks its signature, that it is the plan's release, and its form
	rm -f "$work/manifest" "$work/manifest.sig"
	download "$(plan_value base)/manifest" "$work/manifest"
	download "$(plan_value base)/manifest.sig" "$work/manifest.sig"
	# A machine with an empty battery lives in 2000, before the key was made.
	if ! "$tools/gpgv" --ignore-time-conflict --keyring "$key" "$work/manifest.sig" "$work/manifest" \
		>"$work/gpgv" 2>&1; then
		cat "$work/gpgv"
		rm -f "$work/manifest"
		fail "the manifest's signature is not good"
	fi
	head -n 1 "$work/manifest" | grep -qx "distserver-release 1" || fail "the manifest is not of form 1"
	id=$(awk '$1 == "id" { print $2 }' "$work/manifest")
	wanted=$(plan_value release)
	if [ "$id" != "$wanted" ]; then
		rm -f "$work/manifest"
		fail "the manifest is of release $id, expected $wanted"
	fi
	correct_clock "$(awk '$1 == "created" { print $2 }' "$work/manifest")"
	echo "release $id: signature good, $(grep -c '^PACKAGE ' "$work/manifest") packages" | tee "$work/said"
}

check_processor() { # an installer for other processors finds out what a machine is, but installs nothing on it
	processor=${processor:-$(uname -m)}
	case $(awk '$1 == "arch" { print $2 }' "$work/manifest")/$processor in
	amd64/x86_64 | x86/i?86 | arm64/aarch64 | sparc/sparc64) return 0 ;;
	amd64/* | x86/* | arm64/* | sparc/*) ;;
	*) return 0 ;;
	esac
	if started_from_medium; then fail "the release is for another processor than this installer, which says $processor"; fi
	# It is being installed from now on, so that it is given the release's own kernel and installer.
	say "this installer is for $processor, the release is not: starting again with the release's own"
	reboot -f
	exit 1
}

correct_clock() { # when the release was made, e.g. 2026-01-01T00:00:00Z: it cannot be earlier than that
	[ -n "$1" ] || return 0
	made=$(date -u -D %Y-%m-%dT%H:%M:%SZ -d "$1" +%s 2>/dev/null) || return 0
	[ "$(date +%s)" -lt "$made" ] || return 0
	echo "the clock says $(date -u), set to when the release was made"
	date -u -s "@$made" >/dev/null
	# Whether a medium expired must not be judged by what another one wrote there.
	[ -n "$offline" ] || hwclock -u -w 2>/dev/null || true
}

listed() { # name: "size sha256" of a release's file
	awk -v name="$1" '$1 == "FILE" && $2 == name && $4 == "SHA256" { print $3, $5 }' "$work/manifest"
}

is_listed() { # name, file: is the file what the manifest says?
	[ "$(listed "$1")" = "$(file_size "$2") $(sha256_of "$2")" ]
}

fetch() { # name, file: nothing that differs from the manifest stays
	[ -n "$(listed "$1")" ] || fail "the manifest lists no file $1"
	if [ "$(file_size "$2")" -ge "$(listed "$1" | cut -d ' ' -f 1)" ]; then
		is_listed "$1" "$2" && return 0
		rm -f "$2"
	fi
	for attempt in 1 2; do
		download "$(plan_value base)/$1" "$2"
		if is_listed "$1" "$2"; then
			count_bytes "$(file_size "$2")"
			return 0
		fi
		# A resumed file may be a mixture: once from its start before giving up.
		came="$(file_size "$2") $(sha256_of "$2")"
		rm -f "$2"
		echo "$1: came $came, the manifest says $(listed "$1") (attempt $attempt)"
	done
	fail "$1 is not what the manifest says; it was removed unused"
}

count_bytes() { # adds to what the running step reports
	echo $(($(cat "$work/bytes" 2>/dev/null || echo 0) + $1)) >"$work/bytes.new"
	mv "$work/bytes.new" "$work/bytes"
}
