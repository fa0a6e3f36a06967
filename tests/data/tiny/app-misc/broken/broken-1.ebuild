# Copyright 2026 DistServer authors
# Distributed under the terms of the MIT license

EAPI=8

inherit tiny
DESCRIPTION="Never compiles"

src_compile() {
	echo "broken.c:1: error: this is broken on purpose" >&2
	die "broken on purpose"
}
