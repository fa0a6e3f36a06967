# Written by DistServer; Portage notices another content of files/ and builds it again.
# Distributed under the terms of the MIT license

EAPI=8

DESCRIPTION="Keeps a machine at its profile's release: central files, updates, reports"
HOMEPAGE="https://wiki.gentoo.org/wiki/Portage"
S="${WORKDIR}"

LICENSE="MIT"
SLOT="0"
KEYWORDS="alpha amd64 arm arm64 hppa loong m68k mips ppc ppc64 riscv s390 sparc x86"

# Python, gpgv, diff3 and mount come with every system that has Portage: a dependency on them would only have to be
# named as each repository names them.

src_install() {
	cp -R --no-dereference "${FILESDIR}"/root/. "${ED}" || die
	keepdir /var/lib/distserver /var/cache/distserver
}

pkg_postinst() {
	# What a person switched off later stays off.
	if [[ -z ${REPLACING_VERSIONS} && -d ${EROOT}/etc/runlevels ]]; then
		mkdir -p "${EROOT}"/etc/runlevels/{boot,default} || die
		ln -sf /etc/init.d/distserver-central "${EROOT}"/etc/runlevels/boot/ || die
		ln -sf /etc/init.d/distserver-client "${EROOT}"/etc/runlevels/default/ || die
	fi
}
