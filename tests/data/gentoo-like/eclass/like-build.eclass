# @ECLASS: like-build.eclass

case ${EAPI} in
	7|8) ;;
	*) die "${ECLASS}: EAPI ${EAPI:-0} is not known" ;;
esac
if [[ -z ${_LIKE_BUILD_ECLASS} ]]; then
_LIKE_BUILD_ECLASS=1
inherit like-utils
BDEPEND="dev-build/like-make"
like-build_src_configure() {
	like-utils_say "configured for ${CHOST}"
}
like-build_src_compile() {
	echo "${PN} ${USE}" > built || die
}
like-build_src_install() {
	insinto "/usr/share/like/${CATEGORY}"
	newins built "${PN}-${SLOT%/*}"
	docompress -x /usr/share/like
}
fi
EXPORT_FUNCTIONS src_configure src_compile src_install
