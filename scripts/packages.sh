# Sourced by the other scripts: installs the Debian packages that are missing. Arguments: package names.
# Everything comes from the distribution's own archive; nothing is asked, and what is there is left alone.
install_packages() {
  local missing=()
  for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return 0
  echo "installing: ${missing[*]}"
  local sudo=""
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "please install as root: apt-get install ${missing[*]}" >&2; return 1; }
    sudo=sudo
  fi
  $sudo apt-get update -qq
  DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

build_packages=(g++ cmake ninja-build ccache pkg-config libboost1.81-dev nlohmann-json3-dev libcli11-dev libyaml-cpp-dev
  libspdlog-dev libfmt-dev prometheus-cpp-dev libpcre2-dev libutf8proc-dev libxxhash-dev liburing-dev)
test_packages=(libgtest-dev python3 python3-venv)
