# Distributed under the terms of the MIT license

EAPI=8

DESCRIPTION="The standard compressor"
HOMEPAGE="https://www.gnu.org/software/gzip/"
SRC_URI="mirror://gnu/gzip/${P}.tar.xz"

LICENSE="GPL-3+"
SLOT="0"
KEYWORDS="amd64 arm64 sparc x86"

src_configure() {
	econf
}
