# shellcheck shell=sh
# The kernel's own file systems, its arguments and its modules.

server=
token=
mode=
node_name=
boot_nic=
medium_id=
offline=
preselected=

mount_kernel_views() {
	mkdir -p /proc /sys /dev /run /tmp /root /mnt/target
	mount -t proc proc /proc
	mount -t sysfs sys /sys
	is_mounted /dev || mount -t devtmpfs dev /dev
	mkdir -p /dev/pts /dev/shm
	mount -t devpts devpts /dev/pts
	mount -t tmpfs shm /dev/shm
	mount -t tmpfs -o mode=755 run /run
	[ -e /dev/fd ] || ln -s /proc/self/fd /dev/fd
	# Messages of drivers would cut through the progress on a serial line.
	echo 4 >/proc/sys/kernel/printk
}

read_arguments() {
	for word in $(cat "${cmdline:-/proc/cmdline}"); do
		case $word in
		distserver=*) server=${word#distserver=} ;;
		distserver.token=*) token=${word#distserver.token=} ;;
		distserver.mode=*) mode=${word#distserver.mode=} ;;
		distserver.name=*) node_name=${word#distserver.name=} ;;
		distserver.medium=*) medium_id=${word#distserver.medium=} ;;
		distserver.offline=1) offline=1 ;;
		distserver.profile=*) preselected=${word#distserver.profile=} ;;
		# 01-52-54-00-77-00-01: hardware type and MAC of the NIC that booted, as PXELINUX gives it.
		BOOTIF=01-*) boot_nic=$(echo "${word#BOOTIF=01-}" | tr 'A-F-' 'a-f:') ;;
		esac
	done
	server=${server%/}
}

argument_given() {
	for word in $(cat "${cmdline:-/proc/cmdline}"); do
		[ "$word" = "$1" ] && return 0
	done
	return 1
}

load_modules() {
	[ -d "/lib/modules/$(uname -r)" ] || return 0
	# A driver's bus shows further devices (virtio-pci shows virtio-blk), hence more than one pass.
	for pass in 1 2 3; do
		say "loading modules, pass $pass"
		find /sys/devices -name modalias -exec cat {} + | sort -u | while read -r alias; do
			modprobe -q "$alias" 2>/dev/null
		done
		wait_for_devices
	done
	for name in ext4 vfat nls_cp437 nls_ascii nls_iso8859-1 squashfs loop af_packet efivarfs \
		usb-storage uas sd_mod sr_mod isofs; do
		modprobe -q "$name" 2>/dev/null
	done
	return 0
}

wait_for_devices() { # at most 3 s, less when a disk and a NIC are there
	for _ in 1 2 3; do
		[ -n "$(list_nics)" ] && [ -n "$(list_disks)" ] && return 0
		sleep 1
	done
}
