# Copyright 2026 DistServer authors
# Distributed under the terms of the MIT license

EAPI=8

inherit tiny
DESCRIPTION="Its patch fits nothing"
PATCHES=( "${FILESDIR}"/nothing.patch )

src_unpack() {
	echo "one line" > "${S}"/there || die
}
