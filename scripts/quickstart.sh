#!/usr/bin/env bash
# From a fresh Debian 12 to a served model: installs what is missing, builds, generates a short text with the model in
# models/, then serves it on 127.0.0.1:8000 (or port SLUICE_PORT) until Ctrl-C.   --once: stop after the text.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/packages.sh
once=no
case "${1:-}" in
  "") ;;
  --once) once=yes ;;
  *) echo "usage: scripts/quickstart.sh [--once]" >&2; exit 2 ;;
esac

install_packages "${build_packages[@]}"
cmake --preset release -DSLUICE_TESTS=OFF -B build/quickstart >/dev/null
cmake --build build/quickstart --target sluice
sluice=build/quickstart/sluice

echo
"$sluice" run models/stories260K.gguf -p "Once upon a time" -n 120 --temperature 0
[ $once = yes ] && exit 0

port=${SLUICE_PORT:-8000}
cat <<TXT

The same model is to be served now, on port $port; Ctrl-C ends it. Try, in another terminal:

  curl http://127.0.0.1:$port/v1/completions -H 'Content-Type: application/json' \\
    -d '{"prompt": "Once upon a time", "max_tokens": 60, "temperature": 0}'

For a model of your own:  build/quickstart/sluice serve /path/to/model
TXT
exec "$sluice" serve models/stories260K.gguf --host 127.0.0.1 --port "$port"
