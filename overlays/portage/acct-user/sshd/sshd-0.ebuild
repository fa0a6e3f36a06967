# Distributed under the terms of the MIT license

EAPI=8

inherit acct-user

KEYWORDS="amd64"
ACCT_USER_ID=222
