# Distributed under the terms of the MIT license

# @ECLASS: acct-group.eclass
# @MAINTAINER:
# DistServer
# @SUPPORTED_EAPIS: 8
# @BLURB: a package that is one system group
# @DESCRIPTION:
# The group is named like the package and made with the fixed number ACCT_GROUP_ID before the
# package is merged. An existing group stays as it is.

case ${EAPI} in
	8) ;;
	*) die "${ECLASS}: EAPI ${EAPI:-0} not supported" ;;
esac

# @ECLASS_VARIABLE: ACCT_GROUP_ID
# @REQUIRED
# @DESCRIPTION:
# The number of the group, the same on every machine.

DESCRIPTION="System group: ${PN}"
S=${WORKDIR}
SLOT="0"

acct-group_pkg_preinst() {
	local database=${EROOT}/etc/group
	mkdir -p "${EROOT}/etc" || die
	[[ -e ${database} ]] || : > "${database}" || die
	grep -q "^${PN}:" "${database}" && return
	# Not groupadd: in an empty ROOT there is neither a /etc/login.defs nor a shadow file for it.
	grep -q "^[^:]*:[^:]*:${ACCT_GROUP_ID}:" "${database}" && die "group ${ACCT_GROUP_ID} is not ${PN}"
	echo "${PN}:x:${ACCT_GROUP_ID}:" >> "${database}" || die
}

EXPORT_FUNCTIONS pkg_preinst
