# Copyright 2026 DistServer authors
# Distributed under the terms of the MIT license

EAPI=8

inherit tiny
DESCRIPTION="C that is none"

src_unpack() {
	cp "${FILESDIR}"/{Makefile,wrong.c} "${S}" || die
}
