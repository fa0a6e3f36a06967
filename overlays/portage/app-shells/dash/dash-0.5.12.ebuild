# Distributed under the terms of the MIT license

EAPI=8

DESCRIPTION="Small POSIX shell"
HOMEPAGE="http://gondor.apana.org.au/~herbert/dash/"
SRC_URI="http://gondor.apana.org.au/~herbert/dash/files/${P}.tar.gz"

LICENSE="BSD"
SLOT="0"
KEYWORDS="amd64 arm64 sparc x86"

src_configure() {
	econf --without-libedit
}
