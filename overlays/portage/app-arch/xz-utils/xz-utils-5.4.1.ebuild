# Distributed under the terms of the MIT license

EAPI=8

MY_P="xz-${PV}"
DESCRIPTION="The xz compressor and its library"
HOMEPAGE="https://tukaani.org/xz/"
SRC_URI="https://github.com/tukaani-project/xz/releases/download/v${PV}/${MY_P}.tar.xz"
S="${WORKDIR}/${MY_P}"

LICENSE="public-domain LGPL-2.1+ GPL-2+"
SLOT="0"
KEYWORDS="amd64 arm64 sparc x86"

src_configure() {
	econf --disable-nls --disable-static --disable-doc
}

src_install() {
	default
	find "${ED}" -name '*.la' -delete || die
}
