# @ECLASS: like-snake-r1.eclass

if [[ -z ${_LIKE_SNAKE_R1_ECLASS} ]]; then
_LIKE_SNAKE_R1_ECLASS=1
inherit like-utils
_like_snake_globals() {
	local one flags=()
	for one in "${SNAKE_COMPAT[@]}"; do
		flags+=( "snake_targets_${one}" )
		SNAKE_DEPS+="snake_targets_${one}? ( dev-lang/snake:${one#snake} ) "
	done
	IUSE="${flags[*]}"
	SNAKE_REQUIRED_USE="|| ( ${flags[*]} )"
}
_like_snake_globals
unset -f _like_snake_globals
fi
