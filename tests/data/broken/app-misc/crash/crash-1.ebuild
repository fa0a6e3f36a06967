# Copyright 2026 DistServer authors
# Distributed under the terms of the MIT license

EAPI=8

inherit tiny
DESCRIPTION="Its compiler dies of a fault of its own"

src_compile() {
	# The driver says so of every signal but a few. The compiler waits for its source until it gets one.
	mkfifo source.c || die
	${CHOST}-gcc -c source.c -o source.o &
	local gcc=$!
	exec 3> source.c
	kill -SEGV $(< /proc/${gcc}/task/${gcc}/children) || die
	wait ${gcc} || die "the compiler crashed"
}
