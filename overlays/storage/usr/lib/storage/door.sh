# shellcheck shell=sh
# The door of installed machines, asked with nothing but openssl: HTTP in TLS, the server proven by its own authority.

door_ask() { # method, path, file with the body, more options of openssl: prints the answer; 1 when it is none
	method=$1 path=$2 body=$3
	shift 3
	name=${door#https://}
	case ${name%:*} in
	*[!0-9.]*) is=-verify_hostname ;;
	*) is=-verify_ip ;;
	esac
	{
		printf '%s %s HTTP/1.0\r\nHost: %s\r\nConnection: close\r\n' "$method" "$path" "$name"
		printf 'Content-Type: application/json\r\nContent-Length: %s\r\n\r\n' "$(wc -c <"$body")"
		cat "$body"
	# A clock that went wrong must not lock a machine out: the authority is this server's alone, and pinned.
	} | timeout 60 "${code_of_door:-/usr/lib/storage}/openssl" s_client -quiet -no_check_time -connect "$name" \
		-CAfile "$authority" -verify_return_error "$is" "${name%:*}" "$@" 2>"${work:-/run}/door.error" \
		>"${work:-/run}/door.answer"
	head -n 1 "${work:-/run}/door.answer" | grep -q '^HTTP/1.[01] 200 ' || return 1
	awk 'behind { print } /^\r?$/ { behind = 1 }' "${work:-/run}/door.answer"
}
