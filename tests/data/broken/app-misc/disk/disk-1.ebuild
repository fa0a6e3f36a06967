# Copyright 2026 DistServer authors
# Distributed under the terms of the MIT license

EAPI=8

inherit tiny
DESCRIPTION="Writes to a full device"

src_compile() {
	echo "much" | dd of=/dev/full || die "cannot write"
}
