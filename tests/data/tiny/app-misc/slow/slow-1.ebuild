# Copyright 2026 DistServer authors
# Distributed under the terms of the MIT license

EAPI=8

inherit tiny
DESCRIPTION="Compiles for as long as a file called hold lies among the distfiles"
DEPEND="app-misc/witness"

src_compile() {
	while [[ -e ${PORTAGE_ACTUAL_DISTDIR:-/var/cache/distfiles}/hold ]]; do
		sleep 0.2
	done
}

src_install() {
	insinto /usr/share/slow
	echo done > "${T}"/done || die
	doins "${T}"/done
}
