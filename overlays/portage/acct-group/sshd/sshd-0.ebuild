# Distributed under the terms of the MIT license

EAPI=8

inherit acct-group

KEYWORDS="amd64 arm64 sparc x86"
# 22 is another group in Debian, which the reference stage is made from.
ACCT_GROUP_ID=222
