# Distributed under the terms of the MIT license

EAPI=8

DESCRIPTION="Small ssh server and client"
HOMEPAGE="https://matt.ucc.asn.au/dropbear/dropbear.html"
SRC_URI="https://matt.ucc.asn.au/dropbear/releases/${P}.tar.bz2"

LICENSE="MIT"
SLOT="0"
KEYWORDS="amd64 arm64 sparc x86"
IUSE="+zlib"

DEPEND="zlib? ( sys-libs/zlib:= )"
RDEPEND="
	${DEPEND}
	acct-group/sshd
	acct-user/sshd
"

src_configure() {
	econf $(use_enable zlib) --disable-pam --disable-lastlog --disable-utmp --disable-wtmp
}

src_compile() {
	emake PROGRAMS="dropbear dbclient dropbearkey scp" MULTI=1
}

src_install() {
	dobin dropbearmulti
	dosym ../bin/dropbearmulti /usr/sbin/dropbear
	dosym dropbearmulti /usr/bin/dbclient
	dosym dropbearmulti /usr/bin/dropbearkey
	dosym dropbearmulti /usr/bin/scp
	dosym dropbearmulti /usr/bin/ssh
	doman dropbear.8 dbclient.1 dropbearkey.1
	keepdir /etc/dropbear
	newconfd "${FILESDIR}"/dropbear.conf dropbear
	exeinto /etc/rc.d
	newexe "${FILESDIR}"/dropbear.rc dropbear
}
