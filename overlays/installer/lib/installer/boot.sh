# shellcheck shell=sh
# The installed kernel, its boot loader, and the way out.

check_kernel() { # arguments: finds the release's own kernel among what is in /boot, or brings it there
	write_settings
	read -r size sum <<-END
		$(listed kernel)
	END
	[ -n "$sum" ] || fail "the manifest lists no kernel"
	echo "$1" >"$work/kernel.arguments"
	for file in "$target"/boot/vmlinuz* "$target"/boot/kernel*; do
		if is_kernel "$file"; then
			use_kernel "${file#"$target"}"
			return 0
		fi
	done
	# Gentoo's kernel packages have it in their build tree; only installkernel copies it to /boot.
	for file in "$target"/usr/src/linux-*/arch/*/boot/* "$target"/usr/lib/modules/*/vmlinuz \
		"$target"/lib/modules/*/vmlinuz; do
		if is_kernel "$file"; then
			version=$(kernel_version "${file#"$target"}")
			cp "$file" "$target/boot/vmlinuz-$version"
			use_kernel "/boot/vmlinuz-$version"
			return 0
		fi
	done
	fail "no kernel in /boot is the release's ($size $sum)"
}

is_kernel() { # file: it is the one that the manifest lists ($size and $sum)
	{ [ -f "$1" ] && [ ! -L "$1" ]; } || return 1
	[ "$(file_size "$1") $(sha256_of "$1")" = "$size $sum" ] && return 0
	echo "${1#"$target"}: $(file_size "$1") $(sha256_of "$1")"
	return 1
}

kernel_version() { # name: from /usr/src/linux-VERSION/... or .../modules/VERSION/vmlinuz
	case $1 in
	/usr/src/*) echo "$1" | sed 's|^/usr/src/linux-\([^/]*\)/.*|\1|' ;;
	*) basename "$(dirname "$1")" ;;
	esac
}

use_kernel() { # name
	echo "$1" >"$work/kernel"
	make_initramfs "$1"
	echo "kernel $1 is the release's" | tee "$work/said"
}

initramfs() { # name of the kernel: the initramfs that installkernel or dracut put beside it, if there is one
	version=${1#/boot/*-}
	for name in "initramfs-$version.img" "initrd-$version" "initrd.img-$version" "initramfs-$version"; do
		if [ -f "$target/boot/$name" ]; then
			echo "/boot/$name"
			return 0
		fi
	done
}

has_mount() {
	awk -v place="$1" '$1 == "mount" && $3 == place { found = 1 } END { exit !found }' "$plan"
}

root_argument() { # what the kernel, or its initramfs, is told of the root
	device=$(awk '$1 == "mount" && $3 == "/" { print $2 }' "$plan")
	options=$(awk '$1 == "mount" && $3 == "/" { print $4 }' "$plan")
	case $(kind_of "$device") in
	ext4) flags= ;;
	*) flags=" rootfstype=$(kind_of "$device")" ;;
	esac
	[ -z "$options" ] || flags="$flags rootflags=$options"
	if is_assembled; then
		echo "root=UUID=$(id_of UUID "$device")$flags"
	else
		# Without an initramfs the kernel knows its root by PARTUUID only; dracut takes that, too.
		echo "root=PARTUUID=$(id_of PARTUUID "$device")$flags"
	fi
}

grub_name() { # file below /boot: GRUB's paths begin at the file system that holds it, whatever subvolume is mounted
	if has_mount /boot; then
		echo "$(subvolume /boot)${1#/boot}"
	else
		echo "$(subvolume /)$1"
	fi
}

subvolume() { # mount point: /NAME of its btrfs's subvolume, or nothing
	awk -v place="$1" '$1 == "mount" && $3 == place { print $4 }' "$plan" | tr , '\n' | sed -n 's|^subvol=/*|/|p'
}

grub_config() {
	root=$(root_argument)
	arguments=$(cat "$work/kernel.arguments")
	image=$(cat "$work/kernel")
	initrd=$(initramfs "$image")
	image=$(grub_name "$image")
	[ -z "$initrd" ] || initrd=$(grub_name "$initrd")
	case $arguments in
	*console=ttyS*)
		echo "if serial --unit=0 --speed=115200; then"
		echo "  terminal_input console serial"
		echo "  terminal_output console serial"
		echo "fi"
		;;
	esac
	cat <<-END
		set timeout=1
		set default=0
		menuentry "Gentoo" {
		  linux $image $root rootwait ro $arguments${initrd:+
		  initrd $initrd}
		}
	END
}

install_loader() { # bios|uefi, disks ...: each of them starts the machine without the others
	mark_installed
	[ "$1" = bios ] || [ -n "$(esps)" ] ||
		fail "the plan mounts no EFI system partition at /boot/efi, where the firmware looks for the loader"
	if [ "$1" = uefi ] && is_signed_release; then
		install_signed_loader
		return 0
	fi
	mount_inside
	[ -x "$target/usr/sbin/grub-install" ] || [ -x "$target/usr/bin/grub-install" ] ||
		fail "grub-install is not in the installed system: add sys-boot/grub to the profile's world"
	lend_programs
	case $1 in
	bios)
		shift
		for disk in "$@"; do
			grub_install --target=i386-pc --boot-directory=/boot "$disk"
		done
		;;
	uefi)
		for place in $(esps); do
			# --removable: the place every firmware looks at, also after its settings were lost.
			grub_install --target="$(uefi_platform)" --efi-directory="$place" --boot-directory=/boot --removable --no-nvram
		done
		;;
	esac
	mkdir -p "$target/boot/grub"
	grub_config >"$target/boot/grub/grub.cfg"
}

uefi_platform() { # as GRUB calls it
	case ${processor:-$(uname -m)} in
	aarch64) echo arm64-efi ;;
	*) echo x86_64-efi ;;
	esac
}

esps() { # where the plan mounts EFI system partitions, one for each disk that has one
	awk '$1 == "mount" && $3 ~ /^\/boot\/efi[0-9]?$/ { print $3 }' "$plan"
}

lend_programs() { # grub-install asks mdadm and lvm what is below /boot; the system need not have them
	is_assembled || return 0
	mkdir -p "$target/run/lent"
	cp -R "$storage/." "$target/run/lent/"
	mkdir -p "$target/run/mdadm" "$target/run/lock/lvm" "$target/run/lvm"
}

grub_install() { # options ...
	inside env DM_DISABLE_UDEV=1 PATH=/run/lent:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
		grub-install "$@"
}

mark_installed() { # for the boot menu of a medium that stays in, and against installing twice with one token
	mkdir -p "$kept/media"
	plan_value release >"$kept/installed"
	if has_mount /boot; then plan_value release >"$target/boot/distserver-installed"; fi
	if started_from_medium && is_machine_of_medium; then plan_value release >"$kept/media/$(token_mark)"; fi
}

close_target() {
	begun=$(uptime_seconds)
	sync
	memory_said | tee "$work/said"
	[ -z "$offline" ] || leave_report "$begun"
	unmount_target
	[ -z "$(mounts_below "$target")" ] || fail "still mounted: $(mounts_below "$target" | tr '\n' ' ')"
	sync
}
