# Copyright 2026 DistServer authors
# Distributed under the terms of the MIT license

EAPI=8

inherit tiny
DESCRIPTION="Its compiler may not have the memory it wants"

src_compile() {
	echo "char many[] = { $(printf '1,%.0s' {1..200000}) };" > many.c || die
	( ulimit -v 60000; ${CHOST}-gcc -c many.c -o many.o ) || die "no object"
}
