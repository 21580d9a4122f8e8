#!/usr/bin/env bash
# What test_vm.sh runs inside its virtual machine: the host is found to be of systemd's kind, the demo runs, its instances are
# units with limits, and nothing is left behind. Prints KILN-VM-RESULT and a number, 0 when all of it held.
set -u
failures=0
check() {  # what, command...
  local what=$1
  shift
  if "$@"; then echo "ok      $what"; else echo "FAILED  $what"; failures=$((failures + 1)); fi
}
limited() { grep -q 'MemoryMax=[0-9]' /run/limits && grep -q 'CPUQuotaPerSecUSec=[0-9]' /run/limits; }
nothing_left() {
  local left
  left=$( { systemctl list-units --all --plain --no-legend 'kiln*-i-*'; grep kiln /proc/mounts; ls /run/netns 2>/dev/null
    pgrep -a 'haproxy|systemd-nspawn|slirp4netns'; } 2>/dev/null)
  [ -z "$left" ] || { echo "$left"; return 1; }
}

kiln doctor
check "the host is of systemd's kind" sh -c 'kiln doctor --json | grep -q systemd'
# The limits of the first unit of an instance that is seen.
( until unit=$(systemctl list-units --plain --no-legend 'kiln*-i-*' | awk '{print $1; exit}') && [ -n "$unit" ]; do sleep 0.5; done
  systemctl show "$unit" -p Id -p MemoryMax -p CPUQuotaPerSecUSec >/run/limits ) &
check "the demo runs to its end" kiln demo --instances 2 --rate 50
cat /run/limits
check "instances are units with limits" limited
check "nothing is left behind" nothing_left
echo "KILN-VM-RESULT $failures"
