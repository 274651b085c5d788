#!/bin/sh
# Install twat-fs: the binary that fits this machine, or the plain Python file where none does.
#
#     curl -fsSL https://raw.githubusercontent.com/twardoch/twat-fs/main/install.sh | sh
#     wget -qO- https://raw.githubusercontent.com/twardoch/twat-fs/main/install.sh | sh -s -- --version 1.2.3 --dir ~/bin
#
#     SHA256SUMS -> which files there are -> one of them -> is it what the list says? -> does it run? -> one rename
#
# Until the rename everything lies in a scratch folder inside the target folder; what was there before stays as it was.
# POSIX sh, and of that only what dash, bash, busybox, mksh, yash and zsh agree on; so there is no `local`.
# The braces around everything make a script that was cut off a syntax error: not one word of it runs.

{

newline='
'
version=${TWAT_FS_VERSION:-}
dir=${TWAT_FS_INSTALL_DIR:-${XDG_BIN_HOME:-}}
releases=${TWAT_FS_BASE_URL:-https://github.com/twardoch/twat-fs/releases}
program=twat-fs                           # its name in the target folder
action=install
python_only=
scratch=

say()  { printf 'install.sh: %s\n' "$*"; }
warn() { say "$@" >&2; }
die()  { warn "$@"; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }
need() { have "$1" || die "$1 is needed, and it is not on PATH"; }

# Run a command quietly; $all is what it said, and $said the last line of that.
try() {
    all=$("$@" 2>&1)
    code=$?
    said=${all##*"$newline"}
    [ -n "$said" ] || said="exit code $code"
    return "$code"
}

usage() {
    cat <<'END'
usage: install.sh [OPTIONS], or: curl -fsSL URL/install.sh | sh -s -- [OPTIONS]

  --version X.Y.Z   this version and not the newest            (TWAT_FS_VERSION)
  --dir DIR         where to put twat-fs                       (TWAT_FS_INSTALL_DIR)
                    else XDG_BIN_HOME, ~/.local/bin, or for root /usr/local/bin
  --python          the Python file, also where a binary would fit
  --uninstall       delete twat-fs from that folder
  --help            this text

TWAT_FS_BASE_URL replaces https://github.com/twardoch/twat-fs/releases.
END
}

misused() { warn "$1; --help tells the options"; exit 2; }

read_options() {
    while [ $# -gt 0 ]; do
        case $1 in
            --version | --dir) [ -n "${2:-}" ] || misused "$1 needs a value" ;;
        esac
        case $1 in
            --version)   version=$2; shift ;;
            --dir)       dir=$2; shift ;;
            --python)    python_only=yes ;;
            --uninstall) action=uninstall ;;
            --help | -h) usage; exit ;;
            --version=* | --dir=*) option=$1; shift; set -- x "${option%%=*}" "${option#*=}" "$@" ;;
            *) misused "there is no option '$1'" ;;
        esac
        shift
    done
}

# "download/v1.2.3" or "latest/download": where below the releases this version lies.
place_of_version() {
    case $version in
        '' | latest) place=latest/download; return ;;
        *[!0-9a-z.-]*) ;;
        *) printf '%s\n' "${version#v}" | grep -Eqx '[0-9]+\.[0-9]+\.[0-9]+([-.]?(a|b|rc|alpha|beta)\.?[0-9]*)?' \
            && place=download/v${version#v} && return ;;
    esac
    misused "'$version' is no version like 1.2.3"
}

choose_dir() {
    if [ -n "$dir" ]; then return; fi
    if [ "$(id -u)" = 0 ]; then dir=/usr/local/bin; return; fi
    [ -n "${HOME:-}" ] || die "HOME is not set: say where with --dir DIR"
    dir=$HOME/.local/bin
}

make_scratch() {
    try mkdir -p -- "$dir" || die "cannot make the folder $dir (${said##*: }): choose another with --dir"
    dir=$(CDPATH='' cd -- "$dir" && pwd) || die "cannot enter the folder $dir: choose another with --dir"
    try mktemp -d "$dir/.twat-fs.XXXXXX" || die "cannot write to $dir (${said##*: }): choose another folder with --dir"
    scratch=$all
}

clean_up() {
    code=$?                               # mksh would end with the code of rm
    [ -z "$scratch" ] || rm -rf -- "$scratch"
    exit "$code"
}

# fetch NAME: from this release into the scratch folder.
fetch() {
    file=$scratch/$1 url=${releases%/}/$place/$1
    if have curl; then
        set -- curl -fsSL --connect-timeout 30 --speed-limit 1 --speed-time 60 --retry 2
        case $url in https:*) set -- "$@" --proto '=https' --tlsv1.2 ;; esac
        set -- "$@" -o "$file"
    else
        case $(wget --version 2>&1) in
            *GNU*) set -- wget -nv --timeout=60 --tries=3 --waitretry=1 -O "$file" ;;
            *)     set -- wget -q -O "$file" ;;
        esac
    fi
    try "$@" "$url"
    case $all in
        *"certificate validation not implemented"*) die "this wget checks no certificates: install curl, then try again" ;;
        *--no-check-certificate*) said="its certificate cannot be verified" ;;               # wget would advise not to look
        "curl: (23) "*) said="cannot write to $dir: is the disk full?" ;;
        "curl: "*) said=${all%%"$newline"*} ;;                                               # curl, to read its manual
    esac
    [ "$code" = 0 ] || die "cannot download $url ($said)"
}

# The hash of NAME in SHA256SUMS; fails when NAME is not on the list.
listed() {
    while read -r sum name; do
        case $name in
            "$1" | "*$1") [ ${#sum} -ne 64 ] || { printf '%s\n' "$sum"; return 0; } ;;
        esac
    done <"$scratch/SHA256SUMS"
    return 1
}

# The hash of standard input, and perhaps more words: no name of a file can be mistaken for an option.
sha256() {
    if have sha256sum; then sha256sum
    elif have shasum; then shasum -a 256
    elif have openssl; then openssl dgst -sha256 -r
    elif have python3; then python3 -c 'import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())'
    else die "cannot check the download: there is no sha256sum, shasum, openssl or python3"
    fi
}

# fetch NAME, and make sure that it is what the release meant to give.
fetch_checked() {
    wanted=$(listed "$1")
    say "downloading ${releases%/}/$place/$1"
    fetch "$1"
    found=$(sha256 <"$scratch/$1") || exit 1
    [ "${found%% *}" = "$wanted" ] || die "$url has the wrong checksum, not that of SHA256SUMS: nothing was installed"
}

# Nothing proves better that a file fits this machine. The last thing said stays in $said.
runs() {
    chmod 755 "$scratch/$program" || return
    try "$scratch/$program" --version || return
    case $said in "twat-fs "*) ;; *) return 1 ;; esac
}

# Name the binary for this machine in $asset; or fail, with the machine in $machine.
choose_binary() {
    system=$(uname -s) cpu=$(uname -m)
    machine="$system $cpu"
    case $system in
        Linux)  linux_with_glibc || return; system=linux ;;
        Darwin) [ "$(sysctl -n sysctl.proc_translated 2>/dev/null)" != 1 ] || cpu=arm64      # a shell under Rosetta
                system=macos ;;
        MINGW* | MSYS* | CYGWIN*) asset=twat-fs-windows-x86_64.exe; return ;;
        *)      return 1 ;;
    esac
    case $cpu in
        x86_64 | amd64)  asset=twat-fs-$system-x86_64 ;;
        aarch64 | arm64) asset=twat-fs-$system-arm64 ;;
        *)               return 1 ;;
    esac
}

# glibc always brings ldd; a 64-bit kernel may carry a 32-bit system.
linux_with_glibc() {
    if [ "$(uname -o 2>/dev/null)" = Android ]; then machine="Android $cpu"; return 1; fi
    case $(ldd --version 2>&1) in *musl*) machine="$machine with musl"; return 1 ;; esac
    have ldd || { machine="$machine without glibc"; return 1; }
    bits=$(getconf LONG_BIT 2>/dev/null) || bits=64
    [ "$bits" = 64 ] || { machine="$machine with $bits bits"; return 1; }
}

take_binary() {
    choose_binary || { say "there is no binary for $machine: taking the Python file"; return 1; }
    listed "$asset" >/dev/null || { say "this release has no $asset: taking the Python file"; return 1; }
    fetch_checked "$asset"
    case $asset in *.exe) program=twat-fs.exe ;; esac
    mv -f "$scratch/$asset" "$scratch/$program"
    runs || { warn "$asset does not run here ($said): taking the Python file"; program=twat-fs; return 1; }
}

# The plain python3 where it is new enough, for then the file stays as it is.
find_python() {
    for candidate in python3 python3.15 python3.14 python3.13 python3.12 python3.11 python3.10 python3.9 python; do
        python=$candidate                 # yash forgets the variable of a loop
        if try "$python" -c 'import sys; sys.exit(sys.version_info < (3, 9))'; then return; fi
    done
    die "no Python from 3.9 on was found: install one (apt-get install python3, dnf install python3.12, apk add python3)"
}

# A path in the first line would break at a blank: env finds the Python by its name.
take_python() {
    find_python
    fetch_checked twat_fs.py
    { printf '#!/usr/bin/env %s\n' "$python" && tail -n +2 "$scratch/twat_fs.py"; } >"$scratch/$program" \
        || die "cannot write to $scratch"
    runs || die "twat_fs.py does not run here ($said): nothing was installed"
}

put_in_place() {
    [ ! -d "$dir/$program" ] || die "$dir/$program is a folder: nothing was installed"
    try mv -f "$scratch/$program" "$dir/$program" || die "cannot write $dir/$program (${said##*: })"
}

install() {
    have curl || have wget || die "curl or wget is needed, and neither is on PATH"
    for tool in uname mktemp mkdir mv rm chmod tail; do need "$tool"; done
    place_of_version
    trap clean_up EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    make_scratch
    fetch SHA256SUMS
    # twat_fs.py is on every list, at its end: a list cut short, or a web page in its place, is seen here.
    listed twat_fs.py >/dev/null || die "$url is not the list of a release: nothing was installed"
    if [ -n "$python_only" ] || ! take_binary; then take_python; fi
    news=$said
    put_in_place
    say "$news is now in $dir/$program"
    tell_path
}

tell_path() {
    case ":${PATH-}:" in
        *":$dir:"* | *":$dir/:"*)
            first=$(command -v twat-fs)
            case $first in "$dir"/*) ;; *) warn "another twat-fs comes first on PATH: $first" ;; esac
            return ;;
    esac
    if [ -n "${GITHUB_PATH:-}" ]; then
        printf '%s\n' "$dir" >>"$GITHUB_PATH"
        return
    fi
    quoted=$(printf '%s\n' "$dir" | sed "s/'/'\\\\''/g")
    say "$dir is not on PATH; these lines put it there, for later shells in ~/.bashrc, ~/.zshrc, config.fish:"
    printf '    %-10s %s\n' 'bash, zsh:' "export PATH='$quoted':\"\$PATH\"" 'fish:' "fish_add_path '$quoted'"
}

uninstall() {
    gone=
    for file in "$dir/twat-fs" "$dir/twat-fs.exe"; do
        [ -e "$file" ] || [ -L "$file" ] || continue
        try rm -f -- "$file" || die "cannot delete $file (${said##*: })"
        say "deleted $file"
        gone=yes
    done
    [ -n "$gone" ] || die "there is no twat-fs in $dir"
}

main() {
    [ -z "${ZSH_VERSION-}" ] || emulate sh
    set -u
    exec </dev/null                       # standard input may be this very script, and is nobody else's to read
    read_options "$@"
    choose_dir
    "$action"
}

main "$@"

}
