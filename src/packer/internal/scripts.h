// Scripts: what runs around a provisioner's own script in the image. Private to this room.
#pragma once

namespace kiln::packer {

// A folder of the layers between the first and the last provisioner; no image has it.
inline constexpr const char* kCarry = "/var/lib/kiln-carry";

// What the image would have if it had booted as a builder: cloud-init that is done, for scripts that wait for it;
// services that start when they are told, which here means: not at all, as in every image that is made without booting.
inline constexpr const char* kBegin = R"sh(#!/bin/sh
set -e
if command -v cloud-init >/dev/null; then
  mkdir -p /run/cloud-init/kiln
  [ -d /var/lib/cloud ] || : > /run/cloud-init/kiln/made
  mkdir -p /var/lib/cloud
  stage='{"errors": [], "start": 1.0, "finished": 2.0}'
  echo "{\"v1\": {\"datasource\": \"DataSourceEc2Local\", \"stage\": null, \"init\": $stage, \"init-local\": $stage," \
    "\"modules-config\": $stage, \"modules-final\": $stage}}" > /run/cloud-init/status.json
  echo '{"v1": {"datasource": "DataSourceEc2Local", "errors": []}}' > /run/cloud-init/result.json
  : > /run/cloud-init/enabled
  : > /run/cloud-init/kiln/boot-finished
  [ -e /var/lib/cloud/instance ] || ln -s /run/cloud-init/kiln /var/lib/cloud/instance
fi
if [ -d /etc/sudoers.d ]; then
  echo 'Defaults env_keep += "SYSTEMD_OFFLINE"' > /etc/sudoers.d/kiln-bake
  chmod 0440 /etc/sudoers.d/kiln-bake
fi
for pair in tmp:/tmp lists:/var/lib/apt/lists; do
  from=/var/lib/kiln-carry/${pair%%:*}
  [ ! -d "$from" ] || cp -a "$from/." "${pair#*:}/"
done
chmod 1777 /tmp
)sh";

inline constexpr const char* kEnd = R"sh(#!/bin/sh
set -e
if [ "$(readlink /var/lib/cloud/instance)" = /run/cloud-init/kiln ]; then rm /var/lib/cloud/instance; fi
if [ -e /run/cloud-init/kiln/made ]; then rmdir /var/lib/cloud 2>/dev/null || :; fi
rm -f /etc/sudoers.d/kiln-bake
if [ "$1" = last ]; then
  rm -rf /var/lib/kiln-carry
  exit 0
fi
rm -rf /var/lib/apt/lists/lock /var/lib/apt/lists/partial /var/lib/apt/lists/auxfiles
for pair in tmp:/tmp lists:/var/lib/apt/lists; do
  carry=/var/lib/kiln-carry/${pair%%:*}
  now=${pair#*:}
  if [ -d "$carry" ] && diff -rq "$carry" "$now" >/dev/null 2>&1; then continue; fi
  rm -rf "$carry"
  if [ -d "$now" ] && [ -n "$(ls -A "$now")" ]; then
    mkdir -p "$carry"
    cp -a "$now/." "$carry/"
  fi
done
)sh";

// `attempt CODES RETRIES SECONDS FILE`: Packer hands the command to the ssh user's shell.
inline constexpr const char* kRunHead = R"sh(#!/bin/sh
export HOME=/root USER=root LOGNAME=root SYSTEMD_OFFLINE=1
cd /root || exit
attempt() {
  codes=$1; left=$2; seconds=$3; file=$4
  while :; do
    if [ "$seconds" -gt 0 ]; then timeout -k 10 "$seconds" sh "$file"; else sh "$file"; fi
    status=$?
    case "$codes" in *" $status "*) return 0 ;; esac
    [ "$left" -gt 0 ] || exit "$status"
    left=$((left - 1))
  done
}
)sh";

}  // namespace kiln::packer
