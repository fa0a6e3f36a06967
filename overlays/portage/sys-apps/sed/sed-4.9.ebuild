# Distributed under the terms of the MIT license

EAPI=8

DESCRIPTION="Stream editor"
HOMEPAGE="https://www.gnu.org/software/sed/"
SRC_URI="mirror://gnu/sed/${P}.tar.xz"

LICENSE="GPL-3+"
SLOT="0"
KEYWORDS="amd64 arm64 sparc x86"

src_configure() {
	econf --disable-nls --disable-acl --without-selinux
}
