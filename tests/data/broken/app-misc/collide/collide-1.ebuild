# Copyright 2026 DistServer authors
# Distributed under the terms of the MIT license

EAPI=8

inherit tiny
DESCRIPTION="Installs a file of another package"
RDEPEND="app-misc/witness"

src_install() {
	newbin - witness <<< "another"
}
