# Distributed under the terms of the MIT license

EAPI=8

DESCRIPTION="Directories, library paths and the boot scripts of busybox init"
HOMEPAGE="https://wiki.gentoo.org/wiki/Project:Base"
S="${WORKDIR}"

LICENSE="MIT"
SLOT="0"
KEYWORDS="amd64 arm64 sparc x86"

RDEPEND="sys-apps/busybox"

src_install() {
	keepdir /boot /etc/rc.d /mnt /var/log
	insinto /etc
	doins "${FILESDIR}"/inittab
	exeinto /etc
	doexe "${FILESDIR}"/rc "${FILESDIR}"/rc.shutdown
	exeinto /usr/share/udhcpc
	newexe "${FILESDIR}"/udhcpc.script default.script
	doenvd "${FILESDIR}"/00base
}
