#!/bin/sh
# Install twat-fs: the binary for this machine, or the Python file if there is none.
#
#     curl -fsSL https://raw.githubusercontent.com/twardoch/twat-fs/main/install.sh | sh
#     wget -qO- https://raw.githubusercontent.com/twardoch/twat-fs/main/install.sh |
#         sh -s -- --version 1.2.3 --dir ~/bin
#
#     SHA256SUMS -> which files exist -> download one -> verify it -> run it once -> one rename
#
# Until the rename everything is in a scratch folder inside the target folder, and the program
# that is installed there already does not change. POSIX sh, and only the part of it on which
# dash, bash, busybox, mksh, yash and zsh agree: there is no `local`.
# The outer braces make a truncated script a syntax error: no part of it runs.

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
need() { have "$1" || die "$1 required but not found on PATH"; }

# Run a command quietly; $output is what it printed, and $message the last line of that.
try() {
    output=$("$@" 2>&1)
    code=$?
    message=${output##*"$newline"}
    [ -n "$message" ] || message="exit code $code"
    return "$code"
}

usage() {
    cat <<'END'
usage: install.sh [OPTIONS], or: curl -fsSL URL/install.sh | sh -s -- [OPTIONS]

  --version X.Y.Z   install this version (default: the newest)   (TWAT_FS_VERSION)
  --dir DIR         install into this folder                     (TWAT_FS_INSTALL_DIR)
                    (default XDG_BIN_HOME or ~/.local/bin; for root /usr/local/bin)
  --python          install the Python file even if there is a binary
  --uninstall       delete twat-fs from that folder
  --help            show this text

TWAT_FS_BASE_URL replaces https://github.com/twardoch/twat-fs/releases.
END
}

usage_error() { warn "$1; see --help"; exit 2; }

parse_options() {
    while [ $# -gt 0 ]; do
        case $1 in
            --version | --dir) [ -n "${2:-}" ] || usage_error "$1: value required" ;;
        esac
        case $1 in
            --version)   version=$2; shift ;;
            --dir)       dir=$2; shift ;;
            --python)    python_only=yes ;;
            --uninstall) action=uninstall ;;
            --help | -h) usage; exit ;;
            --version=* | --dir=*)
                option=$1
                shift
                set -- x "${option%%=*}" "${option#*=}" "$@" ;;
            *) usage_error "unknown option '$1'" ;;
        esac
        shift
    done
}

# Set $release_path to "download/v1.2.3" or "latest/download", relative to the releases.
choose_release_path() {
    numbers='[0-9]+\.[0-9]+\.[0-9]+'
    case $version in
        '' | latest) release_path=latest/download; return ;;
        *[!0-9a-z.-]*) ;;
        *) printf '%s\n' "${version#v}" |
               grep -Eqx "$numbers([-.]?(a|b|rc|alpha|beta)\.?[0-9]*)?" &&
               release_path=download/v${version#v} && return ;;
    esac
    usage_error "invalid version '$version' (expected 1.2.3)"
}

need_home() { [ -n "${HOME:-}" ] || die "HOME is not set; use --dir with a full path"; }

# A shell expands neither --dir=~/bin nor a quoted tilde in a variable.
choose_dir() {
    case $dir in
        [~] | [~]/*) need_home; dir=$HOME${dir#[~]} ;;
        [~]*) die "unsupported folder '$dir'; use a full path" ;;
        '') if [ "$(id -u)" = 0 ]; then dir=/usr/local/bin; return; fi
            need_home
            dir=$HOME/.local/bin ;;
    esac
}

make_scratch() {
    try mkdir -p -- "$dir" ||
        die "could not create folder $dir: ${message##*: }; use --dir to choose another"
    dir=$(CDPATH='' cd -- "$dir" && pwd) ||
        die "could not enter folder $dir; use --dir to choose another"
    try mktemp -d "$dir/.twat-fs.XXXXXX" ||
        die "could not write to $dir: ${message##*: }; use --dir to choose another folder"
    scratch=$output
}

clean_up() {
    code=$?                               # mksh would exit with the code of rm
    [ -z "$scratch" ] || rm -rf -- "$scratch"
    exit "$code"
}

# Set $client to curl or wget. One from a snap may not write to hidden folders, which the
# scratch folder and ~/.local are.
choose_client() {
    snap=
    for candidate in curl wget; do
        client=$candidate                 # yash loses the variable of a loop at return
        case $(command -v "$client") in
            '') ;;
            */snap/bin/*) snap=$client ;;
            *) return ;;
        esac
    done
    [ -z "$snap" ] ||
        die "$snap from a snap cannot write to hidden folders; run \`apt-get install curl\`"
    die "curl or wget required but not found on PATH"
}

# download NAME: from this release into the scratch folder.
download() {
    file=$scratch/$1 url=${releases%/}/$release_path/$1
    if [ "$client" = curl ]; then
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
    case $output in
        *"certificate validation not implemented"*)
            die "this wget does not verify certificates; install curl and retry" ;;
        # wget would recommend not to verify it
        *--no-check-certificate*) message="certificate verification failed" ;;
        "curl: (23) "*) message="could not write to $dir (disk full?)" ;;
        # the last line of curl recommends its manual
        "curl: "*) message=${output%%"$newline"*} ;;
    esac
    [ "$code" = 0 ] || die "could not download $url: $message"
}

# Print the hash of NAME in SHA256SUMS; fails if NAME is not listed.
checksum_of() {
    while read -r hash name; do
        case $name in
            "$1" | "*$1") [ ${#hash} -ne 64 ] || { printf '%s\n' "$hash"; return 0; } ;;
        esac
    done <"$scratch/SHA256SUMS"
    return 1
}

# Print the hash of standard input first; without a file name, none can look like an option.
sha256() {
    python_code='import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())'
    if have sha256sum; then sha256sum
    elif have shasum; then shasum -a 256
    elif have openssl; then openssl dgst -sha256 -r
    elif have python3; then python3 -c "$python_code"
    else die "could not verify download: sha256sum, shasum, openssl or python3 required"
    fi
}

# download_verified NAME: with the checksum that SHA256SUMS lists.
download_verified() {
    expected=$(checksum_of "$1")
    say "downloading ${releases%/}/$release_path/$1"
    download "$1"
    actual=$(sha256 <"$scratch/$1") || exit 1
    [ "${actual%% *}" = "$expected" ] ||
        die "$url: SHA-256 mismatch with SHA256SUMS; nothing was installed"
}

# Whether the program starts here: the best proof that it fits this machine.
runs() {
    chmod 755 "$scratch/$program" || return
    try "$scratch/$program" --version || return
    case $message in "twat-fs "*) ;; *) return 1 ;; esac
}

# Set $asset to the binary for this machine; or fail, with a description in $machine.
choose_binary() {
    system=$(uname -s) cpu=$(uname -m)
    machine="$system $cpu"
    case $system in
        Linux)  linux_with_glibc || return; system=linux ;;
        Darwin) # a shell under Rosetta sees an Intel CPU
                [ "$(sysctl -n sysctl.proc_translated 2>/dev/null)" != 1 ] || cpu=arm64
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

# glibc always includes ldd; a 64-bit kernel may run a 32-bit system.
linux_with_glibc() {
    if [ "$(uname -o 2>/dev/null)" = Android ]; then machine="Android $cpu"; return 1; fi
    case $(ldd --version 2>&1) in *musl*) machine="$machine with musl"; return 1 ;; esac
    have ldd || { machine="$machine without glibc"; return 1; }
    bits=$(getconf LONG_BIT 2>/dev/null) || bits=64
    [ "$bits" = 64 ] || { machine="$machine with $bits bits"; return 1; }
}

prepare_binary() {
    choose_binary || { say "no binary for $machine; using the Python file"; return 1; }
    checksum_of "$asset" >/dev/null ||
        { say "no $asset in this release; using the Python file"; return 1; }
    download_verified "$asset"
    case $asset in *.exe) program=twat-fs.exe ;; esac
    mv -f "$scratch/$asset" "$scratch/$program"
    runs && return
    warn "$asset does not run here: $message; using the Python file"
    program=twat-fs
    return 1
}

# The plain python3 comes first: with it the file does not change.
find_python() {
    for candidate in python3 python3.15 python3.14 python3.13 python3.12 python3.11 \
        python3.10 python3.9 python; do
        python=$candidate                 # for yash, as above
        if try "$python" -c 'import sys; sys.exit(sys.version_info < (3, 9))'; then return; fi
    done
    packages='apt-get install python3, dnf install python3.12, apk add python3'
    die "Python 3.9 or newer not found; install it ($packages)"
}

# A path in the first line would break at a space: env finds Python by its name.
prepare_python() {
    find_python
    download_verified twat_fs.py
    {
        printf '#!/usr/bin/env %s\n' "$python" && tail -n +2 "$scratch/twat_fs.py"
    } >"$scratch/$program" || die "could not write to $scratch"
    runs || die "twat_fs.py does not run here: $message; nothing was installed"
}

move_to_dir() {
    [ ! -d "$dir/$program" ] || die "$dir/$program is a folder; nothing was installed"
    try mv -f "$scratch/$program" "$dir/$program" ||
        die "could not write $dir/$program: ${message##*: }"
}

install() {
    choose_client
    for tool in uname mktemp mkdir mv rm chmod tail; do need "$tool"; done
    choose_release_path
    trap clean_up EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    make_scratch
    download SHA256SUMS
    # twat_fs.py is the last entry of each list: a truncated list or a web page is detected here
    checksum_of twat_fs.py >/dev/null ||
        die "$url: invalid checksum list; nothing was installed"
    if [ -n "$python_only" ] || ! prepare_binary; then prepare_python; fi
    installed=$message
    move_to_dir
    say "installed $installed as $dir/$program"
    show_path
}

show_path() {
    case ":${PATH-}:" in
        *":$dir:"* | *":$dir/:"*)
            first=$(command -v twat-fs)
            case $first in
                "$dir"/*) ;;
                *) warn "warning: another twat-fs is first on PATH: $first" ;;
            esac
            return ;;
    esac
    if [ -n "${GITHUB_PATH:-}" ]; then
        printf '%s\n' "$dir" >>"$GITHUB_PATH"
        return
    fi
    quoted=$(printf '%s\n' "$dir" | sed "s/'/'\\\\''/g")
    say "$dir is not on PATH; add it here, and in ~/.bashrc, ~/.zshrc or config.fish:"
    printf '    %-10s %s\n' \
        'bash, zsh:' "export PATH='$quoted':\"\$PATH\"" \
        'fish:' "fish_add_path '$quoted'"
}

uninstall() {
    deleted=
    for file in "$dir/twat-fs" "$dir/twat-fs.exe"; do
        [ -e "$file" ] || [ -L "$file" ] || continue
        try rm -f -- "$file" || die "could not delete $file: ${message##*: }"
        say "deleted $file"
        deleted=yes
    done
    [ -n "$deleted" ] || die "twat-fs not found in $dir"
}

main() {
    [ -z "${ZSH_VERSION-}" ] || emulate sh
    set -u
    exec </dev/null                       # standard input may be this script: nothing may read it
    parse_options "$@"
    choose_dir
    "$action"
}

main "$@"

}
