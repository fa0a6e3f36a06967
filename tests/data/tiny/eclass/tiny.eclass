# @ECLASS: tiny.eclass
# @BLURB: what all packages of this repository share
S="${WORKDIR}"
LICENSE="MIT"
SLOT="0"
KEYWORDS="amd64"
HOMEPAGE="https://example.org/"
