# @ECLASS: like-utils.eclass

# Every other eclass of ours starts here.
like-utils_say() {
	einfo "${CATEGORY}/${PF}: ${*}"
}
