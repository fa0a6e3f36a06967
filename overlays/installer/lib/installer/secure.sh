# shellcheck shell=sh
# Secure Boot: the loader and the kernel with the site's signature, and the site's keys for the firmware.

efi_variables=${efi_variables:-${sys:-/sys}/firmware/efi/efivars}
enrolment=${enrolment:-/etc/distserver/secure-boot}
esp=$target/boot/efi
global=8be4df61-93ca-11d2-aa0d-00e098032b8c
images=d719b2cb-3d3a-4596-a3bc-dad00e67656f

is_signed_release() {
	[ -n "$(listed loader.efi)" ] && [ -n "$(listed kernel.efi)" ]
}

install_signed_loader() { # onto each EFI system partition, so that each disk starts the machine
	for place in $(esps); do
		esp=$target$place
		install_signed_files
	done
	enroll_keys
}

install_signed_files() { # systemd-boot, which lets the firmware verify the kernel as it verified the loader
	mkdir -p "$esp/EFI/BOOT" "$esp/EFI/distserver" "$esp/loader/entries"
	if [ -n "$(listed shim.efi)" ]; then
		# shim starts its neighbour by this name, and lets a person enroll keys with the other.
		fetch shim.efi "$esp/EFI/BOOT/BOOTX64.EFI"
		fetch mokmanager.efi "$esp/EFI/BOOT/mmx64.efi"
		fetch loader.efi "$esp/EFI/BOOT/grubx64.efi"
	else
		fetch loader.efi "$esp/EFI/BOOT/BOOTX64.EFI"
	fi
	fetch kernel.efi "$esp/EFI/distserver/kernel.efi"
	initrd=$(initramfs "$(cat "$work/kernel")")
	[ -z "$initrd" ] || cp "$target$initrd" "$esp/EFI/distserver/initramfs"
	printf 'timeout 1\neditor no\n' >"$esp/loader/loader.conf"
	loader_entry >"$esp/loader/entries/distserver.conf"
	echo "the loader and the kernel have the site's signature" | tee "$work/said"
}

loader_entry() {
	root=$(root_argument)
	echo "title Gentoo"
	echo "linux /EFI/distserver/kernel.efi"
	[ ! -e "$esp/EFI/distserver/initramfs" ] || echo "initrd /EFI/distserver/initramfs"
	echo "options $root rootwait ro $(cat "$work/kernel.arguments")"
}

efi_flag() { # name: 1, 0 or nothing; the file begins with four octets of attributes
	# Each variable is a file of a file system of its own; without any it is not mounted yet.
	set -- "$1" "$efi_variables"/*
	if [ -d "$efi_variables" ] && [ ! -e "$2" ]; then
		mount -t efivarfs efivarfs "$efi_variables" 2>/dev/null || true
	fi
	od -An -t u1 "$efi_variables/$1-$global" 2>/dev/null | awk '{ print $5 }'
}

enroll_keys() { # only where nobody's keys are: that is what setup mode means
	[ -e "$enrolment/PK.auth" ] || return 0
	if [ "$(efi_flag SetupMode)" != 1 ]; then
		echo "the firmware is not in setup mode: its keys stay as they are (Secure Boot: $(efi_flag SecureBoot))"
		return 0
	fi
	# PK last: with it the firmware leaves setup mode.
	enroll db "$images"
	enroll KEK "$global"
	enroll PK "$global"
	echo "the site's keys are enrolled, Secure Boot begins with the next start" | tee "$work/said"
}

enroll() { # variable, GUID of its vendor
	# Attributes: non-volatile, boot, runtime, authenticated by time (UEFI 2.10, 8.2): 0x27. One write(2) is one
	# SetVariable().
	printf '\047\000\000\000' >"$work/variable"
	cat "$enrolment/$1.auth" >>"$work/variable"
	dd if="$work/variable" of="$efi_variables/$1-$2" bs=64k 2>"$work/dd" ||
		fail "the firmware does not take the site's $1: $(tail -n 1 "$work/dd")"
}
