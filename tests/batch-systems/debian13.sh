#!/usr/bin/env bash
# Runs a command in a Debian 13 of its own: Python 3.13, OpenSSL 3.5, and the Slurm 24.11, HTCondor 23.9 and OAR 2.6
# that it starts. Root only.
#
#   tests/batch-systems/debian13.sh COMMAND...    # in a fresh clone of this repository's last commit
#
# Each call has a fresh system, whose files, processes, host name and temporary folders nobody else sees. All of it ends
# with the command, whose exit code is that of this script. The network is shared: a Slurm that is started in it listens
# on loopback from CORRAL_DEBIAN13_PORT on, an HTCondor from the twentieth port after it, an sshd on the fortieth, an OAR
# from the fiftieth. The Slurm is one with all that sites have (CORRAL_SLURM_WITH in slurm-up.sh), unless that is set.
#
# What does not change is kept in CORRAL_DEBIAN13_TOP, and made anew when this script or those of Slurm, HTCondor or OAR
# change: Debian's base system with what the tests need. It comes from the mirror that this machine's apt uses,
# with apt's and pip's own configuration.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin

here=$(cd "$(dirname "$0")" && pwd)
repository=$(cd "$here/../.." && pwd)
top=${CORRAL_DEBIAN13_TOP:-/var/lib/corral-debian13}
port=${CORRAL_DEBIAN13_PORT:-17850}
release=trixie
packages=(ca-certificates git procps python3-venv tini)
slurm_with=${CORRAL_SLURM_WITH-accounting plugins unequal federation}

home=$(getent passwd root | cut -d: -f6)    # as inside
say() { echo "debian13: $*" >&2; }
fail() {
    say "$*"
    exit 1
}

install_debootstrap() {
    command -v debootstrap >/dev/null && return
    say "installing debootstrap"
    {
        flock -o /var/lib/apt apt-get -q -o DPkg::Lock::Timeout=300 update
        DEBIAN_FRONTEND=noninteractive flock -o /var/lib/apt apt-get -q -y -o DPkg::Lock::Timeout=300 install --no-install-recommends debootstrap
    } >"$top/apt.log" 2>&1 || fail "cannot install debootstrap: $(tail -n 3 "$top/apt.log")"
}

mirror() { # the one from which this machine has its own Debian
    local codename found
    codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
    found=$(apt-get indextargets --format '$(ORIGIN) $(CODENAME) $(REPO_URI)' 2>/dev/null |
        awk -v codename="$codename" '$1 == "Debian" && $2 == codename { print $3; exit }')
    [[ $found ]] || fail "apt on this machine names no mirror of Debian: apt-get update, or make it a Debian"
    echo "$found"
}

pip_configuration() { # files that pip reads on this machine, if they are there
    local file
    for file in /etc/pip.conf /etc/xdg/pip ~/.config/pip ~/.pip "${PIP_CONFIG_FILE:-}"; do
        [[ ! $file || ! -e $file ]] || echo "$file"
    done
}

# Variables by which pip and Python find packages and trust a proxy.
carried() { env | grep -E '^(PIP_|SSL_CERT_FILE=|REQUESTS_CA_BUNDLE=|CURL_CA_BUNDLE=|(https?|all|no)_proxy=|(HTTPS?|ALL|NO)_PROXY=)' || true; }

named_paths() { # files and folders of this machine that pip's configuration names
    {
        pip_configuration | while read -r file; do grep -rhv '^ *[#;]' "$file" || true; done
        carried
    } | grep -oE '(file://)?/[^ ,"'\'']+' | sed 's,^file://,,' | while read -r path; do
        # The pages of an index (PEP 503) lead to files beside it.
        path=${path%/}
        [[ ! -e $path ]] || echo "${path%/simple}"
    done | sort -u
}

carry_in() { # SYSTEM: apt's and pip's configuration
    local system=$1 file
    apt-config dump | grep '^Acquire::' | grep -v '^Acquire::IndexTargets' >"$system/etc/apt/apt.conf.d/90host"
    cp -L /etc/resolv.conf "$system/etc/resolv.conf"
    printf '127.0.0.1 localhost debian13\n::1 localhost\n' >"$system/etc/hosts"
    echo debian13 >"$system/etc/hostname"
    pip_configuration | while read -r file; do
        local to=$system/${file/#"$HOME"//root}
        mkdir -p "$(dirname "$to")"
        cp -rL "$file" "$(dirname "$to")/"
    done
    # Folders of packages are mounted, in `enter`; certificates are files, which ca-certificates wants to replace.
    named_paths | while read -r file; do
        [[ ! -f $file ]] || install -D -m 644 "$file" "$system$file"
    done
}

enter() { # SYSTEM FOLDER COMMAND...: become it, there, in namespaces of its own
    local system=$1 kept=$1$home/.cache/pip variables paths init=()
    # What adopts orphans there, as the first process of a system must; before it is installed, there are none.
    [[ ! -x $system/usr/bin/tini ]] || init=(tini --)
    mapfile -t variables < <(carried)
    mapfile -t paths < <(named_paths | while read -r path; do [[ ! -d $path ]] || echo "$path"; done)
    mkdir -p "$top/pip-cache" "$kept"
    # All that is in there is killed with it.
    exec setpriv --pdeathsig KILL unshare --mount --uts --ipc --pid --fork --kill-child bash -euo pipefail -c '
        system=$1 cache=$2 kept=$3 count=$4
        paths=("${@:5:count}")
        shift $((4 + count))
        hostname debian13
        mount --bind "$system" "$system"
        mount -t proc proc "$system/proc"
        mount --rbind /sys "$system/sys"
        mount --rbind /dev "$system/dev"
        mount -t tmpfs tmpfs "$system/dev/shm"
        mount -t tmpfs tmpfs "$system/run"
        mount --bind "$cache" "$kept"
        for path in "${paths[@]}"; do
            mkdir -p "$system$path"
            mount --bind -o ro "$path" "$system$path"
        done
        exec chroot "$system" "$@"
    ' enter "$system" "$top/pip-cache" "$kept" "${#paths[@]}" "${paths[@]}" \
        /usr/bin/env -i HOME="$home" USER=root LOGNAME=root LANG=C.UTF-8 TERM="${TERM:-dumb}" ${CI:+CI="$CI"} \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        CORRAL_SLURM_PORT="$port" CORRAL_HTCONDOR_PORT="$((port + 20))" CORRAL_SSHD_PORT="$((port + 40))" \
        CORRAL_OAR_PORT="$((port + 50))" CORRAL_SLURM_WITH="$slurm_with" \
        PIP_DISABLE_PIP_VERSION_CHECK=1 "${variables[@]}" \
        "${init[@]}" bash -c 'cd "$1" && shift && exec "$@"' in "${@:2}"
}

make_base() {
    local wanted
    wanted=$(cat "$0" "$here"/{slurm,htcondor,oar}-up.sh | sha256sum)
    [[ $(cat "$top/base.made-by" 2>/dev/null) != "$wanted" ]] || return 0
    say "making the base system in $top"
    install_debootstrap
    rm -rf "$top/base" "$top/base.made-by"
    debootstrap --variant=minbase "$release" "$top/base" "$(mirror)" >"$top/debootstrap.log" 2>&1 ||
        fail "debootstrap failed: $(tail -n 3 "$top/debootstrap.log")"
    carry_in "$top/base"
    cp -r "$here" "$top/base$home/batch-systems"
    # Started once, each is installed by the list of packages in its own script.
    (enter "$top/base" "$home" bash -euc '
        export DEBIAN_FRONTEND=noninteractive CORRAL_SLURM_WITH=accounting
        apt-get -q update
        apt-get -q -y install --no-install-recommends "$@"
        for name in slurm htcondor oar; do
            batch-systems/$name-up.sh
            batch-systems/$name-down.sh
        done
        apt-get -q clean
        rm -rf batch-systems' install "${packages[@]}") >"$top/install.log" 2>&1 ||
        fail "cannot install what the tests need: $(tail -n 5 "$top/install.log")"
    echo "$wanted" >"$top/base.made-by"
}

remove() { # SYSTEM: with patience, for killed processes may still be writing
    for _ in {1..50}; do
        rm -rf --one-file-system "$1" 2>/dev/null && return
        sleep 0.1
    done
    rm -rf --one-file-system "$1"
}

remove_old() { # what calls left that were killed outright
    local system
    for system in "$top"/run.*; do
        [[ ! -e $system || -e /proc/${system##*.} ]] || remove "$system"
    done
}

(($#)) || fail "which command?"
((EUID == 0)) || fail "must be root"
unshare --mount --uts --ipc --pid --fork true 2>/dev/null ||
    fail "this machine allows no namespaces (unshare: CAP_SYS_ADMIN): Debian 13 cannot be tested here"
install -d -m 755 "$top"
exec 9>"$top/lock"
flock 9
make_base
remove_old
system=$top/run.$$
trap 'remove "$system"' EXIT
cp -a "$top/base" "$system"
flock -u 9
carry_in "$system"
# Where other users can read it: some tests become one.
git clone --quiet --no-hardlinks "$repository" "$system/srv/corral"
# In the background, because bash hears no signal while it runs something in the foreground.
enter "$system" /srv/corral "$@" <&0 9>&- &
inside=$!
trap 'kill -KILL "$inside" 2>/dev/null || true' INT TERM HUP
code=0
wait "$inside" || code=$?
wait "$inside" 2>/dev/null || true
exit "$code"
