# @ECLASS: like-snake-single.eclass

if [[ -z ${_LIKE_SNAKE_SINGLE_ECLASS} ]]; then
_LIKE_SNAKE_SINGLE_ECLASS=1
inherit like-snake-r1
like-snake-single_pkg_setup() {
	like-utils_say "one snake"
}
fi
EXPORT_FUNCTIONS pkg_setup
