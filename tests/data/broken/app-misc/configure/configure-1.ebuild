# Copyright 2026 DistServer authors
# Distributed under the terms of the MIT license

EAPI=8

inherit tiny
DESCRIPTION="Misses a library"

src_unpack() {
	cp "${FILESDIR}"/configure "${S}" || die
	chmod +x "${S}"/configure || die
}
