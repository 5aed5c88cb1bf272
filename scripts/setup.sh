#!/usr/bin/env bash
# Makes .venv with the tested set of packages; does nothing when it is already up to date.
#   scripts/setup.sh run     what the service needs
#   scripts/setup.sh test    that, and the tools of the tests
# Environment: PY (a Python >= 3.11), TORCH=cpu (take torch from PyTorch's index of CPU builds), VENV (default .venv).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

want="${1:-test}"
venv="${VENV:-.venv}"
stamp="$venv/.assay-$want"
lock=constraints.txt
cpu_index=https://download.pytorch.org/whl/cpu

say() { printf '%s\n' "$*" >&2; }

is_usable() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

pick_python() { # 3.11 first: the lock was made with it, and torch has small CPU wheels for it in more places
    local candidate
    for candidate in ${PY:-python3.11 python3 python3.12 python3.13 python3.14}; do
        if is_usable "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    if [ -n "${PY:-}" ]; then
        say "Assay needs Python 3.11 or newer, but PY=$PY is $("$PY" --version 2>&1 || true)."
    else
        say "Assay needs Python 3.11 or newer; found: $(python3 --version 2>&1 || echo 'no python3 on PATH')."
    fi
    say "Install one (Debian/Ubuntu: apt install python3.11 python3.11-venv; macOS: brew install python@3.11; or uv: https://docs.astral.sh/uv)"
    say "and name it if it is not on PATH:  make setup PY=/path/to/python3.11"
    return 1
}

fingerprint() { # content, not dates: a fresh clone or a moved checkout is seen for what it is
    { pwd && cat pyproject.toml "$lock" scripts/setup.sh && echo "torch=${TORCH:-}"; } | cksum
}

make_venv() {
    is_usable "$venv/bin/python" && return
    rm -rf "$venv"
    if [ -n "$uv" ]; then
        # uv fetches a Python of its own if the machine has none
        "$uv" venv --quiet --seed --python "${PY:-3.11}" "$venv" && return
        say "uv could not make $venv; going on without uv"
        rm -rf "$venv"
    fi
    local python
    python="$(pick_python)"
    say "creating $venv with $("$python" --version)"
    if ! "$python" -m venv "$venv" >&2; then
        rm -rf "$venv"
        say "$python cannot create virtual environments. Debian/Ubuntu: apt install python3-venv"
        return 1
    fi
}

install() {
    local target=(-e .) index=()
    [ "$want" = test ] && target=(-e '.[test]')
    [ "${TORCH:-}" = cpu ] && index=(--extra-index-url "$cpu_index")
    if [ -n "$uv" ]; then
        # uv does not read pip's settings: a folder of local wheels is handed over by hand
        if [ -z "${UV_FIND_LINKS:-}" ] && [ -n "${PIP_FIND_LINKS:-}" ]; then export UV_FIND_LINKS="$PIP_FIND_LINKS"; fi
        "$uv" pip install --quiet --python "$venv/bin/python" --index-strategy unsafe-best-match \
            "${target[@]}" -c "$lock" "${index[@]+"${index[@]}"}" && return
        say "uv could not install the packages; trying pip"
    fi
    "$venv/bin/python" -m pip --version >/dev/null 2>&1 || "$venv/bin/python" -m ensurepip >/dev/null
    # --no-compile: what is never imported need not be compiled, and that is most of it; `compile_used` does the rest
    "$venv/bin/python" -m pip install -qq --no-compile --disable-pip-version-check --root-user-action=ignore \
        "${target[@]}" -c "$lock" "${index[@]+"${index[@]}"}"
}

compile_used() { # once, here: where PYTHONDONTWRITEBYTECODE is set, every process of the service would compile torch anew
    env -u PYTHONDONTWRITEBYTECODE OMP_NUM_THREADS=1 "$venv/bin/python" - <<'PYTHON' || say "nothing was compiled ahead"
import app.main, app.run, app.serve_api  # noqa: E401
import assay.library
import matplotlib.figure
import torch._dynamo
import workers.celery_app, workers.embedded, workers.preload  # noqa: E401
PYTHON
}

uv="$(command -v uv || true)"
export UV_SYSTEM_CERTS="${UV_SYSTEM_CERTS:-1}" # as pip and curl do; a company's proxy has certificates of its own
now="$(fingerprint)"
for done in "$stamp" "$venv/.assay-test"; do # the test set contains the run set
    if [ -x "$venv/bin/python" ] && [ "$(cat "$done" 2>/dev/null)" = "$now" ]; then
        exit 0
    fi
done
make_venv
say "installing the $want set of packages into $venv (one to three minutes the first time)"
install
compile_used
fingerprint >"$stamp"
