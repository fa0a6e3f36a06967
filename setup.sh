#!/bin/bash
# Set up a checkout: Debian packages, a virtual environment with the locked dependencies. Does nothing twice.
set -euo pipefail
cd "$(dirname "$0")"
python=$1 venv=$2

missing=()
while read -r package; do
    [[ -z $package || $package == \#* ]] && continue
    [[ $(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || missing+=("$package")
done <packages.apt
if ((${#missing[@]})); then
    if ((EUID != 0)); then
        echo "setup: these Debian packages are missing and only root can install them: ${missing[*]}" >&2
        exit 1
    fi
    echo "setup: installing ${missing[*]}" >&2
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null
fi

echo "setup: python packages" >&2
[[ -x $venv/bin/python ]] || "$python" -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
"$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
touch "$venv/ready"
