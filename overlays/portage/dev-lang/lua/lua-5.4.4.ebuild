# Distributed under the terms of the MIT license

EAPI=8

DESCRIPTION="A small language to extend programs with"
HOMEPAGE="https://www.lua.org/"
SRC_URI="https://www.lua.org/ftp/${P}.tar.gz"

LICENSE="MIT"
SLOT="5.4"
KEYWORDS="amd64 arm64 sparc x86"

src_compile() {
	emake -C src CC="${CC:-${CHOST}-gcc}" MYCFLAGS="${CFLAGS}" MYLDFLAGS="${LDFLAGS}" linux
}

src_install() {
	newbin src/lua lua${SLOT}
	dosym lua${SLOT} /usr/bin/lua
	insinto /usr/include/lua${SLOT}
	doins src/{lua,luaconf,lualib,lauxlib}.h
	newman doc/lua.1 lua${SLOT}.1
}
