# shellcheck shell=sh
# The installed kernel, its boot loader, and the way out.

check_kernel() { # arguments: finds the release's own kernel among what is in /boot
	write_settings
	read -r size sum <<-END
		$(listed kernel)
	END
	[ -n "$sum" ] || fail "the manifest lists no kernel"
	for file in "$target"/boot/vmlinuz* "$target"/boot/kernel*; do
		{ [ -f "$file" ] && [ ! -L "$file" ]; } || continue
		if [ "$(file_size "$file") $(sha256_of "$file")" = "$size $sum" ]; then
			echo "${file#"$target"}" >"$work/kernel"
			echo "$1" >"$work/kernel.arguments"
			echo "kernel ${file#"$target"} is the release's" | tee "$work/said"
			return 0
		fi
		echo "${file#"$target"}: $(file_size "$file") $(sha256_of "$file")"
	done
	fail "no kernel in /boot is the release's ($size $sum)"
}

has_mount() {
	awk -v place="$1" '$1 == "mount" && $3 == place { found = 1 } END { exit !found }' "$plan"
}

grub_config() {
	# Without an initramfs the kernel knows its root by PARTUUID only.
	root=$(id_of PARTUUID "$(awk '$1 == "mount" && $3 == "/" { print $2 }' "$plan")")
	arguments=$(cat "$work/kernel.arguments")
	image=$(cat "$work/kernel")
	# GRUB's paths begin at the file system that holds them.
	if has_mount /boot; then image=${image#/boot}; fi
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
		  linux $image root=PARTUUID=$root rootwait ro $arguments
		}
	END
}

install_loader() { # bios|uefi, disk
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
