# shellcheck shell=sh
# Setup shared by the scripts in this folder; sourced, not run. Plain POSIX shell.
# The caller has changed into the root of the checkout.

say() {
    printf '%s\n' "$*" >&2
}

fail() {
    printf 'error: %s\n' "$*" >&2
    exit 3
}

# as_root COMMAND...: run it as root, with sudo if needed.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        sudo -- "$@"
    fi
}

# need_root FOR: fail with instructions if root is not available.
need_root() {
    [ "$(id -u)" -eq 0 ] && return 0
    command -v sudo >/dev/null 2>&1 || fail "there is no sudo; as root, run: $1"
    # `sudo -v` would ask for a password even if none is needed.
    sudo -- true || fail "sudo did not let you; as root, run: $1"
}

have_package() {
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# need_packages NAME...: install those Debian packages that are missing.
need_packages() {
    missing=
    if ! command -v dpkg-query >/dev/null 2>&1 || ! command -v apt-get >/dev/null 2>&1; then
        say "note: not a Debian system; install the equivalent of $* yourself"
        return 0
    fi
    for package in "$@"; do
        have_package "$package" || missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    say "Installing system packages:$missing"
    need_root "apt-get install$missing"
    # Fetch the package lists if they are missing or out of date.
    # shellcheck disable=SC2086 # names of packages, to be split
    if ! { apt_lists_there && apt_install $missing; }; then
        as_root env DEBIAN_FRONTEND=noninteractive \
            apt-get -qq -o DPkg::Lock::Timeout=300 update >&2 ||
            fail "apt-get update failed; is there a connection to the network?"
        apt_install $missing || fail "apt-get could not install:$missing"
    fi
}

apt_lists_there() {
    for list in /var/lib/apt/lists/*_Packages* /var/lib/apt/lists/*_InRelease; do
        [ -e "$list" ] && return 0
    done
    return 1
}

apt_install() {
    # Hide a page of output per package; errors go to standard error.
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends \
        -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 install "$@" >/dev/null
}

# The libraries that the Python packages load.
need_audio_libraries() {
    case $(uname -m) in
        x86_64 | aarch64) need_packages libportaudio2 ;;
        # The soundfile package contains its library only for 64 bit.
        *) need_packages libportaudio2 libsndfile1 ;;
    esac
}

# python_works PROGRAM FROM BELOW: whether it is a Python that can make virtual environments, at
# least 3.FROM and below 3.BELOW.
python_works() {
    "$1" -c "import sys, venv, ensurepip; sys.exit(not (3, $2) <= sys.version_info[:2] < (3, $3))" \
        >/dev/null 2>&1
}

# find_python FROM BELOW: print the first such Python; false if there is none.
find_python() {
    for program in python3 /usr/bin/python3 \
        python3.14 python3.13 python3.12 python3.11 python3.10 \
        "${PYENV_ROOT:-$HOME/.pyenv}"/versions/*/bin/python3; do
        if python_works "$program" "$1" "$2"; then
            # The program itself: the one in the path may be a script that chooses one.
            "$program" -c 'import sys; print(sys.executable)'
            return 0
        fi
    done
    return 1
}

# need_python: print a Python that the software runs on; installs Debian's if there is none.
need_python() {
    find_python 10 15 || {
        need_packages python3 python3-venv
        find_python 10 15 || fail "no Python 3.10 to 3.14 that can make virtual environments"
    }
}

# stamp PYTHON WHAT: what a virtual environment was made from; if it changes, make it again.
stamp() {
    printf '%s\n%s\n' "$PWD" "$2"
    "$1" -c 'import sys; print(sys.version)'
    cat pyproject.toml requirements/*.txt | cksum
}

# environment_is DIRECTORY STAMP: whether the environment works and was made from STAMP.
environment_is() {
    [ -f "$1/edge-voice.stamp" ] && [ "$(cat "$1/edge-voice.stamp")" = "$2" ] &&
        "$1/bin/python" -c 'import edge, numpy' >/dev/null 2>&1
}

# new_environment DIRECTORY PYTHON: make an empty virtual environment, replacing any old one.
new_environment() {
    rm -rf "$1"
    "$2" -m venv "$1" >&2 || fail "$2 could not make a virtual environment in $1"
}

# pip_install DIRECTORY ARGUMENT...: install into a virtual environment; shows only errors.
pip_install() {
    directory=$1
    shift
    "$directory/bin/python" -m pip install -qq --disable-pip-version-check "$@" >&2 ||
        fail "pip could not install $*; is there a connection to the network?"
}

# install_locked DIRECTORY ARGUMENT...: install from the files of requirements/, checking hashes.
install_locked() {
    directory=$1
    shift
    # The lists are complete; dependencies are not resolved again.
    pip_install "$directory" --no-deps --require-hashes "$@"
}

# build_wheel PYTHON FOLDER: build the wheel of this checkout with the locked build tools.
build_wheel() {
    new_environment "$2/build" "$1"
    install_locked "$2/build" -r requirements/build.txt
    "$2/build/bin/python" -m pip wheel -qq --disable-pip-version-check --no-deps \
        --no-build-isolation --wheel-dir "$2" . >&2 || fail "pip could not make a wheel"
}

# need_environment EXTRA: the virtual environment .venv with the software and its EXTRA, in the
# versions of requirements/EXTRA.txt; made again if it is broken or out of date.
need_environment() {
    base=$(need_python) || exit 3
    wanted=$(stamp "$base" "$1")
    full=$(stamp "$base" dev)
    if environment_is .venv "$wanted" || environment_is .venv "$full"; then
        return 0
    fi
    say "Setting up .venv with $("$base" --version); the first time takes a few minutes"
    # An environment for the demo can be extended for the tests; make any other from scratch.
    environment_is .venv "$(stamp "$base" demo)" || new_environment .venv "$base"
    rm -f .venv/edge-voice.stamp
    install_locked .venv -r "requirements/$1.txt"
    pip_install .venv --no-deps --no-build-isolation -e .
    printf '%s\n' "$wanted" >.venv/edge-voice.stamp
}

# need_speech_to_text: .venv-speech-to-text with a Wyoming speech-to-text server for the tests. Its
# English model is part of the SpeechRecognition package.
need_speech_to_text() {
    set -- wyoming-ovos-stt==0.2.0 ovos-stt-plugin-pocketsphinx==0.1.1 pocketsphinx==5.1.1
    base=$(find_python 10 14) || fail "the speech-to-text server needs Python 3.10 to 3.13"
    wanted=$(printf '%s\n' "$PWD" "$*" "$("$base" -VV)")
    if [ -f .venv-speech-to-text/edge-voice.stamp ] &&
        [ "$(cat .venv-speech-to-text/edge-voice.stamp)" = "$wanted" ]; then
        return 0
    fi
    say "Setting up .venv-speech-to-text with $("$base" --version)"
    new_environment .venv-speech-to-text "$base"
    pip_install .venv-speech-to-text "$@"
    printf '%s\n' "$wanted" >.venv-speech-to-text/edge-voice.stamp
}
