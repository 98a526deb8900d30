#!/usr/bin/env bash
# Make a virtual environment and install into it:  tools/setup_venv.sh PYTHON FOLDER PIP_ARGUMENTS...
#
# Debian and Ubuntu split things off Python and pip that are taken for granted elsewhere; this copes without root:
#   no python3-venv     virtualenv from the package index, in a folder of its own
#   no libGL or glib    OpenCV's build without windows, in place of the one with windows
set -euo pipefail

python=$1 venv=$2
shift 2

fail() {
    echo "error: $*" >&2
    exit 1
}

command -v "$python" >/dev/null || fail "there is no '$python'; install it (sudo apt-get install python3 python3-venv) or say PYTHON=..."
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
    fail "$("$python" --version) is too old, 3.10 or newer is needed; say PYTHON=python3.11, for example"

if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    rm -rf "$venv"
    if ! "$python" -m venv "$venv" >/dev/null 2>&1; then
        echo "python3-venv is missing, using virtualenv"
        rm -rf "$venv"
        "$python" -m pip install --quiet --upgrade --target "$venv.virtualenv" virtualenv ||
            fail "no virtual environment can be made; sudo apt-get install python3-venv python3-pip"
        PYTHONPATH="$venv.virtualenv" "$python" -m virtualenv --quiet "$venv"
        rm -rf "$venv.virtualenv"
    fi
fi

# The pip of Debian 12 and Ubuntu 22.04 is from 2022; a newer one resolves the extras faster.
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --upgrade pip
quiet=--quiet
[ -t 1 ] && quiet=--progress-bar=on  # minutes pass: people at a terminal see what is happening
# setuptools warns at length that an editable install sees the working directory, which is what it is for.
PYTHONWARNINGS=ignore "$venv/bin/python" -m pip install "$quiet" --disable-pip-version-check "$@"

if "$venv/bin/python" -m pip show --quiet opencv-python 2>/dev/null; then
    if ! problem=$("$venv/bin/python" -c 'import cv2' 2>&1); then
        echo "OpenCV does not load here: ${problem##*$'\n'}"
        echo "using its build without windows; for --show: sudo apt-get install libgl1 libglib2.0-0, then make clean"
        version=$("$venv/bin/python" -c 'from importlib.metadata import version; print(version("opencv-python"))')
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --force-reinstall \
            "opencv-python-headless==$version"
        "$venv/bin/python" -c 'import cv2' || fail "OpenCV does not load"
    fi
fi
