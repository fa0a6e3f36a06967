# shellcheck shell=sh
# Does the release fit on the disk? Said before anything is written where it can be known, else when it is full.

check_room() { # compares what surely is needed with all file systems of the plan together
	stage=$(listed stage | cut -d ' ' -f 1)
	unpacked=$(unpacked_stage)
	awk -v unpacked="${unpacked:-${stage:-0}}" '
		function mib(bytes) { return sprintf("%d MiB", (bytes + 1048575) / 1048576) }
		NR == FNR && $1 == "disk" { disk = $2 ($2 ~ /[0-9]$/ ? "p" : ""); parts = 0 }
		NR == FNR && $1 == "sfdisk" && /size=/ {
			match($0, /size=[0-9]+MiB/)
			size[disk (++parts)] = substr($0, RSTART + 5, RLENGTH - 8) * 1048576
		}
		NR == FNR && $1 == "unchanged" { unknown = 1 }
		NR == FNR && $1 == "luks" { size["/dev/mapper/" $3] = size[$2] }
		NR == FNR && $1 == "lv" { size["/dev/mapper/" $2 "-" $3] = $4 * 1048576 }
		NR == FNR && $1 == "raid" {
			count = NF - 5
			least = size[$6]
			for (word = 7; word <= NF; word++) if (size[$word] < least) least = size[$word]
			size[$2] = least * ($3 == 0 ? count : $3 == 1 ? 1 : $3 == 5 ? count - 1 : int(count / 2))
		}
		NR == FNR && $1 == "mkfs" && $3 ~ /^(ext4|xfs|btrfs)$/ { there += size[$2] }
		NR == FNR { next }
		$1 == "FILE" && $2 ~ /^tree-/ { trees += $3 }
		# As they came; what is in them may replace as much of the stage.
		$1 == "PACKAGE" { packages += $3 }
		END {
			needed = unpacked + trees + packages
			# The sizes of a table that stays are not in the plan.
			if (there >= needed || unknown) exit 0
			print "the disk is too small: the release needs at least " mib(needed) " (stage " mib(unpacked) \
				", packages " mib(packages) ", trees " mib(trees) "), the plan has file systems of " mib(there)
			exit 1
		}' "$plan" "$work/manifest" || fail "nothing was written"
}

unpacked_stage() { # bytes; nothing when only unpacking it would tell
	is_on_medium "$(plan_value base)" || return 0
	base=$(plan_value base)
	archive=${base#file://}/stage
	case $(decompressor "$archive") in
	*zstd) "$tools/zstd" -q -d -c "$archive" 2>/dev/null | wc -c ;;
	esac
}

explain_failure() { # what a step's own words do not tell: a full disk, a medium that is gone
	for where in $(mounts_below "$target"); do
		df -Pk "$where" 2>/dev/null | awk -v where="${where#"$target"}" 'NR == 2 && $1 ~ /^\/dev\// && $4 < 1024 && $3 > 0 {
			print "the disk is full: " (where == "" ? "/" : where) " has " int($2 / 1024) " MiB, " \
				int($4 / 1024) " MiB of it are free"
		}'
	done
	if [ -n "$offline" ] && [ -e "$work/medium.device" ] && ! medium_answers; then what_of_medium .; fi
	return 0
}
