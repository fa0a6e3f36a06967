# Written by DistServer for one profile; the same sources and the same tools give the same text.
# Distributed under the terms of the MIT license

EAPI=8

DESCRIPTION="Linux of @SOURCE@ with the configuration of /etc/kernel"
HOMEPAGE="https://www.kernel.org/"
S="${WORKDIR}/linux"

LICENSE="@LICENSE@"
SLOT="0"
KEYWORDS="@ARCH@"
# Modules are stripped by the kernel's own rules; the image must stay as it is.
RESTRICT="strip"

BDEPEND="
	=@SOURCE@
@TOOLS@"

QA_PREBUILT="boot/* lib/modules/*"

src_unpack() {
	# What the sources' package installed, by its own record: its directory's name is its own affair.
	local record="${BROOT}/var/db/pkg/@SOURCE@/CONTENTS" top
	top=$(sed -n 's|^obj \(/usr/src/[^/]*\)/Makefile .*|\1|p' "${record}") || die
	[[ -f ${BROOT}${top}/Makefile ]] || die "@SOURCE@ installed no /usr/src/linux-VERSION with a Makefile"
	# In a tree of its own all paths are relative: no other tree is needed, and ccache hits across versions.
	cp -a --reflink=auto "${BROOT}${top}" "${S}" || die
}

kernel_make() {
	local cc=${CC:-${CHOST}-gcc} tool tools=()
	for tool in AR LD NM OBJCOPY OBJDUMP READELF STRIP; do
		[[ ${!tool} ]] && tools+=( "${tool}=${!tool}" )
	done
	# The kernel chooses its own flags; a fixed builder and date make two builds the same.
	env -u CFLAGS -u CXXFLAGS -u LDFLAGS -u ARCH \
		KBUILD_BUILD_TIMESTAMP=2026-01-01 KBUILD_BUILD_USER=portage KBUILD_BUILD_HOST=distserver \
		make ${MAKEOPTS} ARCH=@KERNEL_ARCH@ CC="${cc}" HOSTCC="${BUILD_CC:-${cc}}" "${tools[@]}" "${@}" ||
		die "make ${*} failed"
}

src_configure() {
	local fragments="${BROOT}/etc/kernel/config.d"
	local base="${fragments}/base"
	case $(< "${base}") in
		defconfig|tinyconfig|allnoconfig|alldefconfig) kernel_make -s "$(< "${base}")" ;;
		*) cp "${base}" .config || die ;;
	esac
	# kconfig takes the last line about a symbol: the fragments in order, the last one has the last word.
	cat "${fragments}"/*.config > "${T}/wanted" || die
	cat "${T}/wanted" >> .config || die
	kernel_make -s olddefconfig
	python3 -B "${FILESDIR}/check.py" "${T}/wanted" .config @KERNEL_ARCH@ ||
		die "kernel options that cannot be had, see above"
}

src_compile() {
	local targets=( @IMAGE_TARGET@ )
	if grep -q '^CONFIG_MODULES=y' .config; then
		targets+=( modules )
	fi
	kernel_make -s "${targets[@]}"
}

src_install() {
	local version
	version=$(<include/config/kernel.release) || die
	insinto /boot
	newins @IMAGE@ "vmlinuz-${version}"
	newins .config "config-${version}"
	newins System.map "System.map-${version}"
	dosym "vmlinuz-${version}" /boot/vmlinuz
	if grep -q '^CONFIG_MODULES=y' .config; then
		kernel_make -s INSTALL_MOD_PATH="${ED}" INSTALL_MOD_STRIP=1 modules_install
		# They name a build tree that no machine has.
		rm -f "${ED}/lib/modules/${version}"/{build,source} || die
	fi
}
