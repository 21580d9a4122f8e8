#!/usr/bin/env bash
# Installs what building and running Kiln needs on Debian 12; with --test also what its tests need, with --vm what a virtual
# machine for it needs. Installs nothing that is there already, and asks for nothing when all is there.
set -euo pipefail
cd "$(dirname "$0")/.."

. tools/packages.sh
packages=("${build[@]}" "${run[@]}")
case ${1:-} in
  --test) packages+=("${test[@]}") ;;
  --vm) packages+=("${vm[@]}") ;;
esac

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
  # Nor is docker-registry's: the tests start their own on loopback.
  if [[ " ${missing[*]} " == *" docker-registry "* ]] && [ -d /run/systemd/system ]; then
    "${sudo[@]}" systemctl disable --now --quiet docker-registry.service || true
  fi
  if [ -z "$had_haproxy" ] && [ -d /run/systemd/system ]; then
    "${sudo[@]}" systemctl disable --now --quiet haproxy.service || true
  fi
fi

# The clients and validators that the end-to-end tests use: the newest of PyPI, because Debian's cannot send the newer members.
clients=(awscli boto3 spdx-tools 'cyclonedx-python-lib[json-validation]' in-toto-attestation 'securesystemslib[crypto]')
if [ "${1:-}" = "--test" ] && [ "$(cat build/venv/.whole 2>/dev/null)" != "${clients[*]}" ]; then
  echo "setup: installing the AWS CLI, boto3 and the validators of SBOMs and attestations into build/venv"
  rm -rf build/venv
  python3 -m venv build/venv
  build/venv/bin/pip -q install --disable-pip-version-check "${clients[@]}"
  echo "${clients[*]}" >build/venv/.whole
fi
