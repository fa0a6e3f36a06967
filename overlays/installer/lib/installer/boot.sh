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

grub_config() {
	# Without an initramfs the kernel knows its root by PARTUUID only; dracut takes that, too.
	root=$(id_of PARTUUID "$(awk '$1 == "mount" && $3 == "/" { print $2 }' "$plan")")
	arguments=$(cat "$work/kernel.arguments")
	image=$(cat "$work/kernel")
	# GRUB's paths begin at the file system that holds them.
	initrd=$(initramfs "$image")
	if has_mount /boot; then
		image=${image#/boot}
		initrd=${initrd#/boot}
	fi
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
		  linux $image root=PARTUUID=$root rootwait ro $arguments${initrd:+
		  initrd $initrd}
		}
	END
}

install_loader() { # bios|uefi, disk
	if [ "$1" = uefi ] && is_signed_release; then
		install_signed_loader
		return 0
	fi
	mount_inside
	[ -x "$target/usr/sbin/grub-install" ] || [ -x "$target/usr/bin/grub-install" ] ||
		fail "grub-install is not in the installed system: add sys-boot/grub to the profile's world"
	case $1 in
	bios) inside grub-install --target=i386-pc --boot-directory=/boot "$2" ;;
	# --removable: the place every firmware looks at, also after its settings were lost.
	uefi)
		inside grub-install --target=x86_64-efi --efi-directory=/boot/efi --boot-directory=/boot \
			--removable --no-nvram
		;;
	esac
	mkdir -p "$target/boot/grub"
	grub_config >"$target/boot/grub/grub.cfg"
}

close_target() {
	sync
	unmount_target
	[ -z "$(mounts_below "$target")" ] || fail "still mounted: $(mounts_below "$target" | tr '\n' ' ')"
	sync
}
