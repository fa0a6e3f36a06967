# Distributed under the terms of the MIT license

# @ECLASS: acct-user.eclass
# @MAINTAINER:
# DistServer
# @SUPPORTED_EAPIS: 8
# @BLURB: a package that is one system user
# @DESCRIPTION:
# The user is named like the package and made with the fixed number ACCT_USER_ID before the package
# is merged, without a password and without a shell. An existing user stays as it is. Its primary
# group is the acct-group package of the same name.

case ${EAPI} in
	8) ;;
	*) die "${ECLASS}: EAPI ${EAPI:-0} not supported" ;;
esac

# @ECLASS_VARIABLE: ACCT_USER_ID
# @REQUIRED
# @DESCRIPTION:
# The number of the user, the same on every machine.

# @ECLASS_VARIABLE: ACCT_USER_HOME
# @DESCRIPTION:
# Home directory; nothing is made there.
: "${ACCT_USER_HOME:=/dev/null}"

DESCRIPTION="System user: ${PN}"
S=${WORKDIR}
SLOT="0"
RDEPEND="acct-group/${PN}"

acct-user_pkg_preinst() {
	local passwd=${EROOT}/etc/passwd shadow=${EROOT}/etc/shadow group
	mkdir -p "${EROOT}/etc" || die
	[[ -e ${passwd} ]] || : > "${passwd}" || die
	grep -q "^${PN}:" "${passwd}" && return
	# Not useradd: in an empty ROOT there is neither a /etc/login.defs nor a shadow file for it.
	grep -q "^[^:]*:[^:]*:${ACCT_USER_ID}:" "${passwd}" && die "user ${ACCT_USER_ID} is not ${PN}"
	group=$(sed -n "s/^${PN}:[^:]*:\([0-9]*\):.*/\1/p" "${EROOT}/etc/group")
	[[ ${group} ]] || die "there is no group ${PN}"
	echo "${PN}:x:${ACCT_USER_ID}:${group}:${DESCRIPTION}:${ACCT_USER_HOME}:/sbin/nologin" >> "${passwd}" || die
	[[ -e ${shadow} ]] || ( umask 077; : > "${shadow}" ) || die
	echo "${PN}:!:::::::" >> "${shadow}" || die
}

EXPORT_FUNCTIONS pkg_preinst
