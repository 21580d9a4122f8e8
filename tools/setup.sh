#!/usr/bin/env bash
# Installs what building and running Kiln needs on Debian 12; with --test also what its tests need. Installs nothing that is
# there already, and asks for nothing when all is there.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(
  build-essential cmake ninja-build pkg-config python3 ca-certificates git
  libcurl4-openssl-dev nlohmann-json3-dev libpugixml-dev libyaml-cpp-dev libssl-dev libzstd-dev
  libarchive-dev libsqlite3-dev libcli11-dev libfmt-dev libgtest-dev libgmock-dev
  mmdebstrap debian-archive-keyring systemd-container haproxy nftables erofs-utils slirp4netns iproute2 kmod util-linux
)
if [ "${1:-}" = "--test" ]; then
  packages+=(lld ccache clang clang-format libclang-rt-14-dev python3-venv curl procps)
fi

missing=()
for package in "${packages[@]}"; do
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
done

if [ ${#missing[@]} -gt 0 ]; then
  sudo=()
  if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || { echo "setup: not root, and sudo is not installed; run this as root" >&2; exit 1; }
    sudo=(sudo)
  fi
  echo "setup: installing ${missing[*]}"
  "${sudo[@]}" apt-get update -qq
  # HAProxy's own service is not wanted: Kiln starts a process of its own for each region.
  had_haproxy=$(command -v haproxy || ls /usr/sbin/haproxy 2>/dev/null || true)
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
  if [ -z "$had_haproxy" ] && [ -d /run/systemd/system ]; then
    "${sudo[@]}" systemctl disable --now --quiet haproxy.service || true
  fi
fi

# The clients that the end-to-end tests use: the newest of PyPI, because Debian's cannot send the newer members.
if [ "${1:-}" = "--test" ] && [ ! -x build/venv/bin/aws ]; then
  echo "setup: installing the AWS CLI and boto3 into build/venv"
  mkdir -p build
  python3 -m venv build/venv.new
  build/venv.new/bin/pip -q install --disable-pip-version-check awscli boto3
  rm -rf build/venv && mv build/venv.new build/venv
  # Scripts of a moved environment name its old place.
  sed -i "s|build/venv.new/|build/venv/|" build/venv/bin/* 2>/dev/null || true
fi
