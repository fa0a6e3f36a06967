# Distributed under the terms of the MIT license

EAPI=8

MY_P="${PN}_${PV}.dfsg.orig"
DESCRIPTION="The deflate compression library"
HOMEPAGE="https://zlib.net/"
SRC_URI="${MY_P}.tar.bz2"
S="${WORKDIR}/${P}.dfsg"

LICENSE="ZLIB"
SLOT="0/1"
KEYWORDS="amd64 arm64 sparc x86"
# Debian's tarball lacks non-free files of upstream's; `distserver` fetches it with apt.
RESTRICT="fetch"

pkg_nofetch() {
	einfo "Put ${A} from Debian's source archive where your distfiles are."
}

src_configure() {
	CC="${CC:-${CHOST}-gcc}" ./configure --prefix=/usr --libdir="/usr/$(get_libdir)" --shared || die
}

src_compile() {
	emake "libz.so.${PV}" libz.a
}

src_install() {
	dolib.so "libz.so.${PV}"
	dolib.a libz.a
	dosym "libz.so.${PV}" "/usr/$(get_libdir)/libz.so.1"
	dosym "libz.so.${PV}" "/usr/$(get_libdir)/libz.so"
	doheader zlib.h zconf.h
	insinto "/usr/$(get_libdir)/pkgconfig"
	doins zlib.pc
}
