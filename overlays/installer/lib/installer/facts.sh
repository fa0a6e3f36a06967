# shellcheck shell=sh
# What this machine is, in the text form the server reads.

sys=${sys:-/sys}
proc=${proc:-/proc}
# A disk that is about to die answers late; the facts do not wait for it.
probe_seconds=${probe_seconds:-20}
most_partitions=${most_partitions:-128}
# Kinds of PCI devices: what is there many times is told once.
most_devices=${most_devices:-192}
most_flags=512

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

list_disks() { # those that can be written; what this was started from is none of them
	own=$(medium_disk)
	for path in "$sys"/block/*; do
		name=${path##*/}
		case $name in
		loop* | ram* | zram* | sr* | fd* | dm-* | md* | nbd* | mtd* | mmcblk*boot* | mmcblk*rpmb | '*') continue ;;
		esac
		[ "$name" != "$own" ] || continue
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

place_of() { # name: where it is plugged in, as udev's path_id words it, from its place among the devices
	there=$(readlink -f "$sys/block/$1")
	bus=$(echo "$there" | tr / '\n' | grep -E '^[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$' | tail -n 1)
	[ -n "$bus" ] || return 0
	case $there in
	*/ata[0-9]*)
		port=$(echo "$there" | sed 's|.*/\(ata[0-9]*\)/.*|\1|')
		echo "pci-$bus-ata-$(read_or_nothing "$sys/class/ata_port/$port/port_no" | one_word)"
		;;
	*/usb[0-9]*) echo "pci-$bus-usb" ;;
	*/target*/*:*:*:*/block/*)
		# Hosts are counted as they are found; the first of a controller is 0 for udev.
		echo "pci-$bus-scsi-0:$(echo "$there" | sed 's|.*/[0-9]*:\([0-9]*:[0-9]*:[0-9]*\)/block/.*|\1|')"
		;;
	*/nvme*/*) echo "pci-$bus-nvme-$(read_or_nothing "$sys/block/$1/nsid" | one_word)" ;;
	*) echo "pci-$bus" ;;
	esac
}

place_fact() { # name
	turns=$(read_or_nothing "$sys/block/$1/queue/rotational")
	echo "place /dev/$1 $(place_of "$1" | one_word) ${turns:--}"
}

partitions_of() { # name of a disk: the names of its partitions
	for path in "$sys/block/$1/$1"*; do
		if [ -e "$path/partition" ]; then echo "${path##*/}"; fi
	done
}

probe() { # name of a device, which is only read: FSTYPE LABEL TABLE, a dash for each that it has not; 1: unknown
	head -c 512 "$devices/$1" >/dev/null 2>&1 || return 1
	said=$(timeout "$probe_seconds" "$tools/blkid" -p -o udev "$devices/$1" 2>/dev/null) || {
		# blkid(8): nothing is known of it (2), or it could be several things (8).
		case $? in
		2 | 8) ;;
		*) return 1 ;;
		esac
	}
	printf '%s\n' "$said" | awk -F = '
		function word(key) {
			gsub(/[^!-~]/, "_", value[key])
			return value[key] == "" ? "-" : substr(value[key], 1, 40)
		}
		{ value[$1] = substr($0, length($1) + 2) }
		END { print word("ID_FS_TYPE"), word("ID_FS_LABEL"), word("ID_PART_TABLE_TYPE") }'
}

# name of a disk, how many partitions may be told: all that is on it or nothing, as a part would pass for the whole
contents_facts() {
	names=$(partitions_of "$1")
	[ "$(echo "$names" | wc -w)" -le "$2" ] || return 0
	probed=$(probe "$1") || return 0
	kind=${probed##* }
	on_it=${probed% *}
	if [ -n "$names" ]; then
		[ "$kind" != - ] || kind=unknown
		echo "table /dev/$1 $kind"
		for part in $names; do
			probed=$(probe "$part") || probed="- - -"
			inside=$sys/block/$1/$part
			start=$(cat "$inside/start")
			size=$(cat "$inside/size")
			echo "part /dev/$part /dev/$1 $((start * 512)) $((size * 512)) ${probed% *}"
		done
		return 0
	fi
	[ "$kind" != - ] || kind=none
	echo "table /dev/$1 $kind"
	case $on_it in
	"- "*) ;;
	*) echo "part /dev/$1 /dev/$1 0 $(($(cat "$sys/block/$1/size") * 512)) $on_it" ;;
	esac
}

own_mac() {
	first=${nic:-$(list_nics | head -n 1)}
	if [ -n "$boot_nic" ]; then
		echo "$boot_nic"
	elif [ -n "$first" ]; then
		cat "$net/$first/address"
	else
		made_up_mac
	fi
}

made_up_mac() { # of a machine without a network card: locally administered, the same each time it is asked
	{
		cat "$sys/class/dmi/id/product_uuid" "$sys/class/dmi/id/product_serial" 2>/dev/null || true
		for name in $(list_disks); do serial_of "$name"; done
	} | sha256sum | sed 's/^\(..\)\(..\)\(..\)\(..\)\(..\).*/02:\1:\2:\3:\4:\5/'
}

firmware_facts() {
	if [ -d "$sys/firmware/efi" ]; then
		echo "firmware uefi"
		case $(efi_flag SecureBoot) in
		1) echo "secureboot on" ;;
		0) echo "secureboot off" ;;
		esac
	elif [ -d "$proc/openprom" ] || [ -e "$proc/device-tree/openprom/name" ]; then
		# SPARC; PowerPC's Open Firmware has the node, too (IEEE 1275, 3.5).
		echo "firmware openfirmware"
	else
		echo "firmware bios"
	fi
}

cpuinfo_value() { # names, separated by |: what the first line that has one of them says
	awk -v names="$1" '
		BEGIN { FS = "[ \t]*:[ \t]*"; split(names, wanted, "|"); for (n in wanted) is_wanted[wanted[n]] = 1 }
		is_wanted[$1] { sub(/^[^:]*:[ \t]*/, ""); print; exit }' "$proc/cpuinfo"
}

cpu_facts() { # on x86, ARM and SPARC the same things have other names
	name=$(cpuinfo_value "model name|cpu" | one_line)
	part=$(cpuinfo_value "CPU part" | one_word)
	# An ARM says two numbers instead.
	[ -n "$name" ] || [ -z "$part" ] || name="ARM $(cpuinfo_value "CPU implementer" | one_word) $part"
	echo "cpu $name"
	echo "arch $(uname -m | one_word)"
	count=$(awk '
		/^processor[ \t]*:/ { seen++ }
		/^ncpus probed[ \t]*:/ { seen = $NF }
		END { print seen + 0 }' "$proc/cpuinfo")
	[ "$count" -eq 0 ] || echo "cpus $count"
	cpuinfo_value "flags|Features|cpucaps" | head -c 16384 | tr -c 'A-Za-z0-9_.+\n-' ' ' | awk -v most="$most_flags" '
		{
			for (n = 1; n <= NF && n <= most; n++) {
				if (length($n) > 40) continue
				if (length(line) + length($n) > 190) { print "flags" line; line = "" }
				line = line " " $n
			}
		}
		END { if (line != "") print "flags" line }'
}

dmi_facts() { # SMBIOS; where there is none the root of the device tree says who made it
	for pair in uuid:product_uuid vendor:sys_vendor product:product_name serial:product_serial \
		family:product_family sku:product_sku board_vendor:board_vendor board:board_name \
		bios_vendor:bios_vendor bios_version:bios_version; do
		value=$(read_or_nothing "$sys/class/dmi/id/${pair#*:}" | one_line)
		[ -z "$value" ] || echo "${pair%%:*} $value"
	done
	[ ! -d "$sys/class/dmi/id" ] || return 0
	tree=$proc/device-tree
	name=$(read_or_nothing "$tree/name" | one_line)
	model=$(read_or_nothing "$tree/model" | one_line)
	# `SUNW,Ultra-5_10`: who makes it stands before the comma (IEEE 1275, 3.2.2.1.1).
	case $name in
	*,*) echo "vendor ${name%%,*}" ;;
	esac
	product=${name#*,}
	[ -n "$product" ] || product=$model
	[ -z "$product" ] || echo "product $product"
	banner=$(read_or_nothing "$tree/banner-name" | one_line)
	[ -z "$banner" ] || echo "family $banner"
	[ -z "$model" ] || echo "board $model"
}

hex_of() { # file, digits: what it says as so many, without the 0x; nothing when that is not what it says
	value=
	read -r value 2>/dev/null <"$1" || true
	value=${value#0x}
	case $value in
	'' | *[!0-9a-fA-F]*) return 0 ;;
	esac
	[ "${#value}" -ne "$2" ] || printf %s "$value"
}

pci_facts() {
	for place in "$sys"/bus/pci/devices/*; do
		[ -e "$place/vendor" ] || continue
		vendor=$(hex_of "$place/vendor" 4)
		device=$(hex_of "$place/device" 4)
		class=$(hex_of "$place/class" 6)
		made=$(hex_of "$place/subsystem_vendor" 4)
		part=$(hex_of "$place/subsystem_device" 4)
		case :$vendor:$device:$class: in
		*::*) continue ;;
		esac
		case $made in
		'' | 0000 | ffff | FFFF) subsystem=- ;;
		*) subsystem=$made:${part:-0000} ;;
		esac
		echo "pci $vendor:$device $class $subsystem"
	done | sort -u | head -n "$most_devices"
}

facts() {
	echo "mac $(own_mac)"
	firmware_facts
	echo "memory $(awk '$1 == "MemTotal:" { printf "%.0f\n", $2 * 1024 }' "$proc/meminfo")"
	cpu_facts
	dmi_facts
	pci_facts
	left=$most_partitions
	for name in $(list_disks); do
		disk_fact "$name"
		place_fact "$name"
		found=$(contents_facts "$name" "$left") || continue
		[ -n "$found" ] || continue
		echo "$found"
		left=$((left - $(echo "$found" | awk '$1 == "part"' | wc -l)))
	done
}
