# Distributed under the terms of the MIT license

EAPI=8

DESCRIPTION="Linux from Debian's source, tinyconfig and the fragments of /etc/kernel/config.d"
HOMEPAGE="https://www.kernel.org/"
SRC_URI="linux_${PV}.orig.tar.xz"
S="${WORKDIR}/linux-${PV}"

LICENSE="GPL-2"
SLOT="0"
KEYWORDS="amd64 arm64 sparc x86"
# Debian's tarball lacks non-free files of upstream's; `distserver` fetches it with apt.
RESTRICT="fetch strip"

BDEPEND="
	app-arch/zstd
	sys-devel/bison
	sys-devel/flex
"

QA_PREBUILT="boot/*"

# The directories of arch/ in the sources; um, the kernel as a program, shares files with x86.
OTHERS="alpha arc arm arm64 csky hexagon ia64 loongarch m68k microblaze mips nios2 openrisc parisc powerpc
	riscv s390 sh sparc x86 xtensa"

kernel_arch() {
	case ${CHOST} in
		i?86-*|x86_64-*) echo x86 ;;
		aarch64-*) echo arm64 ;;
		sparc*) echo sparc ;;
		*) die "no kernel is made for ${CHOST} here" ;;
	esac
}

# What make is told to make, and where that is then.
kernel_image() {
	case ${1} in
		x86) echo bzImage ;;
		arm64) echo Image ;;
		*) echo zImage ;;
	esac
}

pkg_nofetch() {
	einfo "Put ${A} from Debian's source archive where your distfiles are."
}

src_unpack() {
	# Half of the files belong to other processors or to the manual; writing and deleting them takes longer
	# than many a compile. Kconfig files stay: crypto/Kconfig reads those of every processor.
	local top="linux-${PV}" own other left_out=()
	own=$(kernel_arch) || die
	for other in ${OTHERS}; do
		[[ ${other} == "${own}" ]] || left_out+=( --exclude="${top}/arch/${other}/*."{[chS],dts*} )
	done
	tar --extract --file "${DISTDIR}/${A}" "${left_out[@]}" \
		--exclude="${top}/Documentation/[!K]*" \
		--exclude="${top}/tools/testing" || die
}

kernel_make() {
	local cc=${CC:-${CHOST}-gcc} own
	own=$(kernel_arch) || die
	# The kernel chooses its own flags; a fixed builder and date make two builds the same.
	env -u CFLAGS -u CXXFLAGS -u LDFLAGS \
		KBUILD_BUILD_TIMESTAMP=2026-01-01 KBUILD_BUILD_USER=portage KBUILD_BUILD_HOST=distserver \
		make ${MAKEOPTS} ARCH="${own}" CC="${cc}" HOSTCC="${BUILD_CC:-${cc}}" \
		${BUILD_CC:+CROSS_COMPILE="${CHOST}-"} "${@}" || die "make ${*} failed"
}

# Prints what the fragments ask for and the final configuration does not have.
kernel_missing() {
	local line
	while read -r line; do
		case ${line} in
			CONFIG_*=n) grep -q "^${line%=n}=" .config && echo "${line}" ;;
			CONFIG_*=*) grep -qxF -- "${line}" .config || echo "${line}" ;;
			"# CONFIG_"*" is not set") line=${line#\# }; grep -q "^${line% is not set}=" .config && echo "${line}" ;;
		esac
	done < "${1}"
}

src_configure() {
	local fragments=( "${BROOT}"/etc/kernel/config.d/*.config ) missing
	[[ -e ${fragments[0]} ]] || die "no *.config in /etc/kernel/config.d: the kernel would fit no machine"
	kernel_make -s tinyconfig
	scripts/kconfig/merge_config.sh -m -O "${T}" /dev/null "${fragments[@]}" > "${T}"/merge.log || die
	# The last fragment that names an option has the last word.
	scripts/kconfig/merge_config.sh -m .config "${T}"/.config > "${T}"/merge.log || die
	kernel_make -s olddefconfig
	missing=$(kernel_missing "${T}"/.config)
	if [[ ${missing} ]]; then
		eerror "The final configuration does not have what the fragments ask for:"
		eerror "${missing}"
		die "kernel options that cannot be had: ${missing//$'\n'/, }"
	fi
}

src_compile() {
	kernel_make -s "$(kernel_image "$(kernel_arch)")"
}

src_install() {
	local version own
	version=$(<include/config/kernel.release) || die
	own=$(kernel_arch) || die
	insinto /boot
	newins "arch/${own}/boot/$(kernel_image "${own}")" "vmlinuz-${version}"
	newins .config "config-${version}"
	dosym "vmlinuz-${version}" /boot/vmlinuz
}
