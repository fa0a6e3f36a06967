# Distributed under the terms of the MIT license

EAPI=8

inherit acct-user

KEYWORDS="amd64 arm64 sparc x86"
ACCT_USER_ID=222
