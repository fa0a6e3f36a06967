# shellcheck shell=sh
# The parts of the installer, for whoever runs some of it.

code=${code:-/lib/installer}
# shellcheck source=/dev/null
for part in console dialogue machine network facts report memory history release room plan medium inspection \
	one_machine offline online target assemble wipe settings packages boot secure lending main; do
	. "$code/$part.sh"
done
