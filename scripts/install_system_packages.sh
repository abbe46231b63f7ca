#!/bin/sh
# What pip cannot install, where this user may install it. Quiet when it is there already. Usage: <script> opengl|browser
set -u

has_library() {
    for folder in /usr/lib /usr/lib/*-linux-gnu /usr/lib64 /opt/homebrew/lib; do
        ls "$folder/$1"* >/dev/null 2>&1 && return 0
    done
    return 1
}

has_command() {
    for name in "$@"; do
        command -v "$name" >/dev/null && return 0
    done
    return 1
}

case "${1:-}" in
opengl) # software OpenGL (OSMesa, EGL) for MuJoCo on machines without a GPU
    has_library libOSMesa.so && exit 0
    packages="libosmesa6 libegl1 libgl1-mesa-dri"
    what="software OpenGL for MuJoCo"
    without="the demo starts from a recorded observation of the same world, and the tests that render are skipped"
    ;;
browser)
    has_command chromium chromium-browser google-chrome && exit 0
    packages="chromium"
    what="a browser for the test of the demo's page"
    without="that test is skipped"
    ;;
*)
    echo "Usage: $0 opengl|browser" >&2
    exit 2
    ;;
esac

[ "$(uname)" = "Linux" ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "Installing $what: $packages"
    if (apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $packages) >/dev/null 2>&1; then
        exit 0
    fi
fi
echo "There is no $what here (Debian: apt-get install $packages); without it $without."
