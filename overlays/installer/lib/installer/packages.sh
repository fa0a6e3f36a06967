# shellcheck shell=sh
# Binary packages: Portage of the unpacked system installs them from the release's index.

# shellcheck disable=SC2016 # Portage replaces the variables
fetch_command='wget -q -t 3 -T 60 -O "${DISTDIR}/${FILE}" "${URI}"'
repository_place=/var/cache/binhost/release
fetch_again=${fetch_again:-3}
away_again=${away_again:-40}
options="--usepkgonly --getbinpkgonly --binpkg-respect-use=y --update --deep --with-bdeps=n"
# One package after another, whatever a profile says of jobs: each is unpacked and merged in bounded memory.
options="$options --jobs=1 --rebuilt-binaries=y --autounmask=n --quiet --color=n --nospinner"

inside() { # command ...: in the unpacked system, with an environment of its own
	# The network was checked before: namespaces of phases cost time and give nothing on a machine's own disk.
	features="-merge-sync -news -network-sandbox -ipc-sandbox -pid-sandbox -mount-sandbox"
	chroot "$target" /usr/bin/env -i HOME=/root TERM=dumb LANG=C.UTF-8 PORTAGE_BINHOST= \
		PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin FEATURES="$features" "$@"
}

mount_inside() {
	mkdir -p "$target/proc" "$target/sys" "$target/dev" "$target/run"
	is_mounted "$target/proc" || mount -t proc proc "$target/proc"
	is_mounted "$target/sys" || mount -t sysfs sys "$target/sys"
	is_mounted "$target/dev" || mount --rbind /dev "$target/dev"
	if ! is_mounted "$target/run"; then
		mount -t tmpfs -o mode=755 run "$target/run"
		mkdir -p "$target/run/lock"
	fi
	is_on_medium "$(plan_value pool)" || return 0
	mkdir -p "$target$medium"
	is_mounted "$target$medium" || mount -o bind "$medium" "$target$medium"
}

mount_work() {
	mkdir -p "$target/var/tmp/portage"
	is_mounted "$target/var/tmp/portage" && return 0
	memory_is_enough || return 0
	mount -t tmpfs -o mode=775,uid=250,gid=250 work "$target/var/tmp/portage"
}

memory_is_enough() { # for packages to be unpacked in half of it
	# 1 GiB of memory shows as about 950 MiB; an image is taken to be ten times its package.
	awk -v manifest="$work/manifest" '
		$1 == "MemTotal:" { memory = $2 * 1024 }
		END {
			while ((getline line <manifest) > 0) {
				split(line, word, " ")
				if (word[1] == "PACKAGE" && word[3] > largest) largest = word[3]
			}
			exit !(memory >= 900 * 1048576 && largest * 10 < memory / 2)
		}' "${proc:-/proc}/meminfo"
}

write_index() { # a checked copy of the release's index that names the pool for its packages
	mkdir -p "$kept/index"
	fetch Packages "$kept/Packages"
	# A package that is there already makes Portage 3.0.83 look for MTIME without asking whether the index
	# has it (bintree.py, download_required); with it the fetched file gets that time.
	sed -e '/^URI: /d' -e '/^MTIME: /d' -e 's/^CPV: .*/&\nMTIME: 1/' "$kept/Packages" >"$work/index"
	name_the_pool "$(plan_value pool)"
}

name_the_pool() { # URL: where the packages of the index are
	{
		echo "URI: $1"
		cat "$work/index"
	} >"$kept/index/Packages"
	# Portage drops cached indexes only for newer ones; this one replaces whatever was there.
	rm -rf "$target/var/cache/edb/binhost"
}

write_binrepos() { # command that fetches
	# Nothing but the release may be a source: a stage brings the repositories of its maker.
	rm -rf "$target/etc/portage/binrepos.conf"
	cat >"$target/etc/portage/binrepos.conf" <<-END
		[release]
		priority = 9999
		sync-uri = file:///var/lib/distserver/index
		location = $repository_place
		verify-signature = false
		fetchcommand = $1
		resumecommand = $1
	END
}

install_packages() { # what the plan names, e.g. @system @world
	write_index
	mount_inside
	mount_work
	# Without its network settings Portage could not find a pool that has a name.
	[ -e "$target/etc/resolv.conf" ] || cp /etc/resolv.conf "$target/etc/resolv.conf" 2>/dev/null || true
	# A package that is missing is found now and not when half of the system is merged.
	write_binrepos "$fetch_command"
	fetch_packages "$@"
	check_packages
	# What was not checked must not come in between. Portage copies from file: without any command.
	write_binrepos /bin/false
	if is_mounted "$target$medium"; then umount "$target$medium"; fi
	emerge "merging" "$@"
	[ ! -e "$work/emerge.status" ] || fail "emerge ended with status $(cat "$work/emerge.status")"
	write_binrepos "$fetch_command"
	check_installed "$@"
	name_the_pool "$server"
	rm -rf "${target:?}$repository_place"
	if is_mounted "$target/var/tmp/portage"; then umount "$target/var/tmp/portage"; fi
}

emerge() { # what, arguments ...: a status other than 0 is in $work/emerge.status
	what=$1
	shift
	rm -f "$work/emerge.status"
	# shellcheck disable=SC2086 # a list of options
	{
		inside emerge $options "$@" </dev/null 2>&1 || echo $? >"$work/emerge.status"
	} | watch_emerge "$what"
}

fetch_packages() { # sets or atoms ...: again when it failed; how often depends on whether the server is there
	# Portage does not say why a transfer failed, and a server that was restarted is back when it is asked.
	here=$fetch_again
	away=$away_again
	pause=2
	while :; do
		emerge "fetching" --fetchonly "$@"
		[ -e "$work/emerge.status" ] || return 0
		if server_is_away; then away=$((away - 1)); else here=$((here - 1)); fi
		{ [ "$here" -gt 0 ] && [ "$away" -gt 0 ]; } ||
			fail "emerge --fetchonly ended with status $(cat "$work/emerge.status")"
		echo "not everything was fetched; again in $pause s"
		sleep "$pause"
		pause=$(grow "$pause")
	done
}

server_is_away() { # a medium never is: it is waited for by nobody
	! is_on_medium "$(plan_value base)" && ! timeout "$post_seconds" wget -q -O /dev/null "$(plan_value base)/manifest.sig" 2>/dev/null
}

watch_emerge() { # passes emerge's output on and reports which package it is at
	while IFS= read -r text; do
		printf '%s\n' "$text"
		case $text in
		*">>> Emerging binary ("*" of "*")"* | *">>> Fetching ("*" of "*")"*)
			note packages "$1 $(echo "$text" |
				sed 's/.*(\([0-9]*\) of \([0-9]*\)) \([^ ]*\).*/\1\/\2 \3/; s/::.*//')" || true
			;;
		esac
	done
}

check_packages() { # Portage compares only MD5 and SHA1 of an index; the manifest's SHA256 decides
	find "$target$repository_place" -type f -name '*.gpkg.tar' >"$work/fetched"
	awk '$1 == "PACKAGE" && $4 == "SHA256" { print $5 }' "$work/manifest" >"$work/known"
	while read -r file; do
		if ! grep -qx "$(sha256_of "$file")" "$work/known"; then
			rm -f "$file"
			fail "${file#"$target$repository_place/"} is not what the manifest says; it was removed unused"
		fi
		count_bytes "$(file_size "$file")"
	done <"$work/fetched"
}

check_installed() { # emerge ends with 0 although it skipped an atom without a usable package
	awk '$1 == "PACKAGE" { print $2 }' "$work/manifest" >"$target/run/release-packages"
	cp /lib/installer/installed.py "$target/run/installed.py"
	inside python3 -B /run/installed.py /run/release-packages "$@" | tee "$work/said"
	# A pipe's status is its last command's: the check ends its output with "complete".
	grep -q '^complete: ' "$work/said" || fail "the system is not what the release says"
}
