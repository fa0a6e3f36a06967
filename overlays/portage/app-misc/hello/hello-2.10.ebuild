# Distributed under the terms of the MIT license

EAPI=8

DESCRIPTION="Prints a friendly greeting"
HOMEPAGE="https://www.gnu.org/software/hello/"
SRC_URI="mirror://gnu/hello/${P}.tar.gz"

LICENSE="GPL-3+"
SLOT="0"
KEYWORDS="amd64 arm64 sparc x86"

src_configure() {
	econf --disable-nls
}
