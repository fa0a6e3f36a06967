# shellcheck shell=sh
# The parts of the installer, for whoever runs some of it.

code=${code:-/lib/installer}
# shellcheck source=/dev/null
for part in console machine network facts report release plan target settings packages boot secure lending main; do
	. "$code/$part.sh"
done
