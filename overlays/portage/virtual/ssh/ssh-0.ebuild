# Distributed under the terms of the MIT license

EAPI=8

DESCRIPTION="Virtual for an ssh server"

SLOT="0"
KEYWORDS="amd64 arm64 sparc x86"

RDEPEND="net-misc/dropbear"
