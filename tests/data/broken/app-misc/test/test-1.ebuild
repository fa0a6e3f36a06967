# Copyright 2026 DistServer authors
# Distributed under the terms of the MIT license

EAPI=8

inherit tiny
DESCRIPTION="Fails its own tests"

src_test() {
	echo "FAIL: one of one"
	die "tests failed"
}
