# Copyright 2026 DistServer authors
# Distributed under the terms of the MIT license

EAPI=8

inherit tiny
DESCRIPTION="Its compile hosts do not answer"

src_compile() {
	echo "int one;" > one.c || die
	DISTCC_DIR="${T}" DISTCC_HOSTS="127.0.0.1:1" DISTCC_FALLBACK=0 \
		distcc ${CHOST}-gcc -c one.c -o one.o || die "no object"
}
