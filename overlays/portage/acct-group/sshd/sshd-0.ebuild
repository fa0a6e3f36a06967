# Distributed under the terms of the MIT license

EAPI=8

inherit acct-group

KEYWORDS="amd64"
ACCT_GROUP_ID=22
