#!/usr/bin/env bash
# Starts an sshd on loopback that belongs to the tests alone, and lets nobody in but this user, with a key of its own.
# Installs Debian's package if it is missing (root only); quick to repeat.
#
#   eval "$(tests/batch-systems/sshd-up.sh)"     # prints `export DASK_CORRAL__SSH=…`; says the rest on standard error
#   corral backends --via ssh://centre
#
# Keys, configuration and log are in one folder; nothing of the user's ~/.ssh is read or written. Sessions have the
# variables of CORRAL_SSHD_SESSION, words like NAME=VALUE.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin

top=${CORRAL_SSHD_TOP:-/var/lib/corral-sshd}
port=${CORRAL_SSHD_PORT:-18100}
session=${CORRAL_SSHD_SESSION:-}

say() { echo "sshd-up: $*" >&2; }

install_package() {
    command -v sshd >/dev/null && command -v ssh >/dev/null && return
    ((EUID == 0)) || { say "there is no sshd, and only root can install it"; exit 1; }
    say "installing openssh-server"
    export DEBIAN_FRONTEND=noninteractive
    # Debian would start a daemon on port 22.
    local policy=/usr/sbin/policy-rc.d
    if [[ ! -e $policy ]]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
        trap "rm -f $policy" EXIT
    fi
    {
        flock -o /var/lib/apt apt-get -q -o DPkg::Lock::Timeout=300 update
        flock -o /var/lib/apt apt-get -q -y -o DPkg::Lock::Timeout=300 install --no-install-recommends openssh-server openssh-client
    } >"$top/apt.log" 2>&1 || { tail -n 5 "$top/apt.log" >&2; say "cannot install openssh-server"; exit 1; }
}

write_configuration() {
    local key
    for key in host user; do
        [[ -e $top/$key ]] || ssh-keygen -q -t ed25519 -N '' -C "corral tests" -f "$top/$key"
    done
    cp "$top/user.pub" "$top/authorized_keys"
    [[ -e $top/known_hosts ]] || echo "[127.0.0.1]:$port $(cut -d ' ' -f 1,2 "$top/host.pub")" >"$top/known_hosts"
    cat >"$top/sshd_config" <<EOF
ListenAddress 127.0.0.1
Port $port
HostKey $top/host
AuthorizedKeysFile $top/authorized_keys
PidFile $top/sshd.pid
AuthenticationMethods publickey
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
UsePAM no
# The folder may be below one that others can write to, such as /tmp.
StrictModes no
# Of many tests, each makes a connection.
MaxStartups 100
${session:+SetEnv $session}
EOF
    cat >"$top/ssh_config" <<EOF
Host centre
    HostName 127.0.0.1
    Port $port
    User $(id -un)
    IdentityFile $top/user
    IdentitiesOnly yes
    IdentityAgent none
    UserKnownHostsFile $top/known_hosts
    GlobalKnownHostsFile /dev/null
    StrictHostKeyChecking yes
EOF
}

is_running() { # is the daemon whose pid is in the folder alive?
    local pid
    pid=$(cat "$top/sshd.pid" 2>/dev/null) && [[ -e /proc/$pid && $(tr '\0' ' ' <"/proc/$pid/cmdline") == *"$top"* ]]
}

install -d -m 700 "$top"
install_package
write_configuration
# Where its own process without rights would live; Debian's service makes it otherwise.
((EUID != 0)) || install -d -m 755 /run/sshd
for _ in {1..100}; do
    # A connection that somebody makes may have the port for a while.
    is_running || "$(command -v sshd)" -f "$top/sshd_config" -E "$top/sshd.log" </dev/null >&2 || true
    is_running && (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break
    sleep 0.2
done
is_running || { cat "$top/sshd.log" >&2; say "it did not start"; exit 1; }
say "sshd is up on 127.0.0.1, port $port; files in $top"
echo "export DASK_CORRAL__SSH='ssh -F $top/ssh_config'"
