# Copyright 2026 DistServer authors
# Distributed under the terms of the MIT license

EAPI=8

inherit tiny
DESCRIPTION="One C file, compiled with the profile's flags"
IUSE="loud"

src_compile() {
	${CHOST}-gcc ${CFLAGS} $(usev loud -DLOUD) -o witness "${FILESDIR}"/witness.c || die "no witness"
}

src_install() {
	dobin witness
}
