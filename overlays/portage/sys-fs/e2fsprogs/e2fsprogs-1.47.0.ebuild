# Distributed under the terms of the MIT license

EAPI=8

DESCRIPTION="Tools for the ext2, ext3 and ext4 file systems"
HOMEPAGE="https://e2fsprogs.sourceforge.net/"
SRC_URI="https://www.kernel.org/pub/linux/kernel/people/tytso/e2fsprogs/v${PV}/${P}.tar.gz"

LICENSE="GPL-2 BSD"
SLOT="0"
KEYWORDS="amd64 arm64 sparc x86"

src_configure() {
	econf \
		--disable-nls \
		--disable-defrag \
		--disable-fuse2fs \
		--disable-uuidd \
		--without-crond-dir \
		--without-systemd-unit-dir \
		--without-udev-rules-dir
}

src_install() {
	emake DESTDIR="${D}" install
	# The static libraries belong to util-linux and to nobody here.
	rm -r "${ED}/usr/share/et" "${ED}/usr/share/ss" || die
	dodoc README
}
