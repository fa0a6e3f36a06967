# shellcheck shell=sh
# An idle machine as a compile host: everything is in memory, no disk is read or written.

lend_machine() { # until the server says stop
	[ -n "$nic" ] || connect
	mkdir -p "$work"
	cat >"$work/lending" <<-END
		server=$server
		name=$node_name
		token=$token
		key=/etc/distserver/release-key.gpg
		work=/run/compile-host
		state=
		set_clock=1
	END
	while :; do
		say "compiling for $server as $node_name"
		{
			"$code/compile-host" "$work/lending" 2>&1
			echo $? >"$work/status"
		} | while read -r line; do say "$line"; done
		if [ "$(cat "$work/status")" = 3 ]; then
			say "not needed any more: restarting"
			reboot -f
		fi
		sleep 2
	done
}
