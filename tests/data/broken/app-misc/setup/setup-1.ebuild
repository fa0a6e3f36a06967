# Copyright 2026 DistServer authors
# Distributed under the terms of the MIT license

EAPI=8

inherit tiny
DESCRIPTION="Refuses to be built"

pkg_setup() {
	die "a kernel with CONFIG_NOTHING is required"
}
