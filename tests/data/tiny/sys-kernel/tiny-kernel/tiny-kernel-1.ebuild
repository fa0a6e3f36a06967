# Copyright 2026 DistServer authors
# Distributed under the terms of the MIT license

EAPI=8

inherit tiny
DESCRIPTION="A file where a kernel would be"

src_install() {
	cat /etc/kernel/config.d/*.config > "${T}"/vmlinuz || die
	insinto /boot
	newins "${T}"/vmlinuz vmlinuz-${PV}
	newins "${T}"/vmlinuz config-${PV}
}
