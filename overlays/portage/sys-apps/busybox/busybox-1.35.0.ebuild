# Distributed under the terms of the MIT license

EAPI=8

DESCRIPTION="Standard tools and init in one static program"
HOMEPAGE="https://busybox.net/"
SRC_URI="https://busybox.net/downloads/${P}.tar.bz2"

LICENSE="GPL-2"
SLOT="0"
KEYWORDS="amd64 arm64 sparc x86"

QA_FLAGS_IGNORED="bin/busybox"

config_set() {
	local name=${1} value=${2}
	sed -i -e "s/^\(# \)\?CONFIG_${name}[ =].*/CONFIG_${name}=${value}/" .config || die
	grep -qx "CONFIG_${name}=${value}" .config || die "busybox has no CONFIG_${name}"
}

src_configure() {
	emake defconfig
	config_set STATIC y
	# TC needs kernel headers of before Linux 6.8; without utmp there is nobody to read the records.
	config_set TC n
	config_set FEATURE_UTMP n
	config_set FEATURE_WTMP n
	emake oldconfig < <(yes "")
}

src_compile() {
	local cc=${CC:-${CHOST}-gcc}
	unset KBUILD_OUTPUT
	# A tarball date instead of today's keeps the program the same however often it is built.
	export KCONFIG_NOTIMESTAMP=1
	emake CC="${cc}" HOSTCC="${BUILD_CC:-${cc}}" ${BUILD_CC:+CROSS_COMPILE="${CHOST}-"} \
		CONFIG_EXTRA_CFLAGS="${CFLAGS}" CONFIG_EXTRA_LDFLAGS="${LDFLAGS}" \
		SKIP_STRIP=y V=1 busybox
}

src_install() {
	into /
	dobin busybox
	dosym ../bin/busybox /sbin/init
	dosym ../bin/busybox /sbin/udhcpc
	dodoc README
}
