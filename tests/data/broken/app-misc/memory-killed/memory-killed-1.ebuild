# Copyright 2026 DistServer authors
# Distributed under the terms of the MIT license

EAPI=8

inherit tiny
DESCRIPTION="Its compiler is killed, as the kernel does when memory is short"

src_compile() {
	mkfifo source.cc || die
	${CHOST}-g++ -c source.cc -o source.o &
	local gcc=$!
	exec 3> source.cc
	kill -KILL $(< /proc/${gcc}/task/${gcc}/children) || die
	wait ${gcc} || die "no object"
}
