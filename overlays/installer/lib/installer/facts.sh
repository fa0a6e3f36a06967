# shellcheck shell=sh
# What this machine is, in the text form the server reads.

sys=${sys:-/sys}
proc=${proc:-/proc}

one_line() { # printable, without blanks at the ends, at most 200 characters
	head -c 4096 | tr -d '\000' | tr -c ' -~' ' ' | sed 's/  */ /g; s/^ //; s/ $//' | cut -c 1-200
}

one_word() {
	word=$(one_line | tr ' ' '_')
	echo "${word:--}"
}

read_or_nothing() {
	cat "$1" 2>/dev/null || true
}

list_disks() {
	for path in "$sys"/block/*; do
		name=${path##*/}
		case $name in
		loop* | ram* | zram* | sr* | fd* | dm-* | md* | nbd* | mtd* | mmcblk*boot* | mmcblk*rpmb | '*') continue ;;
		esac
		size=$(read_or_nothing "$path/size")
		[ "${size:-0}" -gt 0 ] && echo "$name"
	done
}

transport_of() { # name: from its place among the devices
	case $1 in
	nvme*) echo nvme && return ;;
	mmcblk*) echo mmc && return ;;
	vd*) echo virtio && return ;;
	esac
	case $(readlink -f "$sys/block/$1") in
	*/usb[0-9]*) echo usb ;;
	*/ata[0-9]*) echo sata ;;
	*/virtio[0-9]*) echo virtio ;;
	*/host[0-9]*) echo scsi ;;
	*) echo - ;;
	esac
}

serial_of() {
	for file in serial device/serial; do
		if [ -s "$sys/block/$1/$file" ]; then
			one_word <"$sys/block/$1/$file"
			return
		fi
	done
	# SCSI's "unit serial number" page: 4 octets of header, then text (SPC-4, 7.8.15).
	read_or_nothing "$sys/block/$1/device/vpd_pg80" | tail -c +5 | one_word
}

disk_fact() {
	size=$(cat "$sys/block/$1/size")
	removable=$(read_or_nothing "$sys/block/$1/removable")
	model=$(read_or_nothing "$sys/block/$1/device/model" | one_line)
	# /sys counts in units of 512 octets whatever the disk's own sectors are.
	echo "disk /dev/$1 $((size * 512)) $(transport_of "$1") ${removable:-0} $(serial_of "$1") $model"
}

own_mac() {
	if [ -n "$boot_nic" ]; then
		echo "$boot_nic"
	else
		cat "$net/$nic/address"
	fi
}

facts() {
	echo "mac $(own_mac)"
	if [ -d "$sys/firmware/efi" ]; then
		echo "firmware uefi"
	else
		echo "firmware bios"
	fi
	echo "memory $(awk '$1 == "MemTotal:" { printf "%.0f\n", $2 * 1024 }' "$proc/meminfo")"
	echo "cpu $(sed -n 's/^model name[[:space:]]*: //p' "$proc/cpuinfo" | head -n 1 | one_line)"
	for pair in uuid:product_uuid vendor:sys_vendor product:product_name serial:product_serial; do
		value=$(read_or_nothing "$sys/class/dmi/id/${pair#*:}" | one_line)
		[ -n "$value" ] && echo "${pair%%:*} $value"
	done
	for name in $(list_disks); do
		disk_fact "$name"
	done
}
