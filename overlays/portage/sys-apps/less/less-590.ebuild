# Distributed under the terms of the MIT license

EAPI=8

DESCRIPTION="Pager that goes backwards too"
HOMEPAGE="https://www.greenwoodsoftware.com/less/"
SRC_URI="https://www.greenwoodsoftware.com/less/${P}.tar.gz"

LICENSE="|| ( GPL-3+ BSD-2 )"
SLOT="0"
KEYWORDS="amd64 arm64 sparc x86"
