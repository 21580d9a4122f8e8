#!/usr/bin/env bash
# Runs the demo on the kind of host that users have: Debian 12 with its own kernel, systemd as PID 1 and cgroup v2, in QEMU
# without KVM. Needs root (ownership in the image). Slow: about ten seconds an instance, and some minutes to make the image.
#
# The image is made once for a list of packages, in build/vm. The layers are baked out here: the machine has no network.
set -euo pipefail
cd "$(dirname "$0")/.."
. tools/packages.sh
program=$PWD/build/release/kiln
vm=$PWD/build/vm
minutes=${KILN_VM_MINUTES:-45}

# What the guest's system consists of; a change of it makes the base anew.
guest=(linux-image-amd64 initramfs-tools systemd-sysv dbus udev procps "${run[@]}")
libraries=$(ldd "$program" | awk '$3 ~ /^\// {print $3}' | xargs -r -n1 readlink -f | xargs -r -n1 basename |
  while read -r library; do dpkg-query -S "*/$library" 2>/dev/null | cut -d: -f1 | head -n 1; done | sort -u)
mapfile -t -O "${#guest[@]}" guest <<<"$libraries"
key=$(printf '%s\n' "${guest[@]}" | sha256sum | cut -c1-16)
base=$vm/base-$key

if [ ! -e "$base/.whole" ]; then
  echo "test-vm: making the guest's system (${#guest[@]} packages)"
  rm -rf "$vm"/base-*
  mkdir -p "$vm"
  mmdebstrap --quiet --variant=important --include="$(IFS=,; echo "${guest[*]}")" bookworm "$base"
  # The demo starts a HAProxy of its own; nobody logs in on the console that the result is read from.
  systemctl --quiet --root="$base" disable haproxy.service
  systemctl --quiet --root="$base" mask serial-getty@ttyS0.service systemd-networkd-wait-online.service apt-daily.timer \
    apt-daily-upgrade.timer
  touch "$base/.whole"
fi

echo "test-vm: baking the demo's layers"
home=$vm/home
mkdir -p "$home"
rm -rf "$home/web" && cp -r examples/web "$home/web"
KILN_HOME=$home "$program" -C "$home/web" bake --no-publish

echo "test-vm: writing the disk"
root=$vm/root
rm -rf "$root"
cp -a --reflink=auto "$base" "$root"
install -m 755 "$program" "$root/usr/local/bin/kiln"
install -m 755 tools/vm_guest.sh "$root/usr/local/bin/kiln-vm-guest"
demo=$root/root/.local/share/kiln/demo
mkdir -p "$demo"
cp -a "$home/cache" "$home/store" "$demo/"
echo "/dev/vda / ext4 rw,relatime 0 1" >"$root/etc/fstab"
echo kiln-vm >"$root/etc/hostname"
cat >"$root/etc/systemd/system/kiln-vm-guest.service" <<'UNIT'
[Unit]
Description=Kiln's demo, on this host
After=multi-user.target
[Service]
Type=oneshot
Environment=HOME=/root
ExecStart=/bin/sh -c '/usr/local/bin/kiln-vm-guest >/dev/ttyS0 2>&1'
ExecStopPost=/bin/systemctl --no-block poweroff
TimeoutStartSec=infinity
UNIT
mkdir -p "$root/etc/systemd/system/multi-user.target.wants"
ln -sf ../kiln-vm-guest.service "$root/etc/systemd/system/multi-user.target.wants/kiln-vm-guest.service"
rm -f "$vm/disk"
truncate -s 8G "$vm/disk"
mke2fs -q -t ext4 -d "$root" "$vm/disk"
cp "$root"/boot/vmlinuz-* "$vm/vmlinuz"
cp "$root"/boot/initrd.img-* "$vm/initrd"
rm -rf "$root"

echo "test-vm: running (at most $minutes minutes)"
timeout --foreground "$((minutes * 60))" qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp 2 -m 3072 -nographic \
  -no-reboot -nic none -kernel "$vm/vmlinuz" -initrd "$vm/initrd" -append "root=/dev/vda rw console=ttyS0 quiet" \
  -drive "file=$vm/disk,if=virtio,format=raw" </dev/null | tee "$vm/console.log" || true
rm -f "$vm/disk"
result=$(sed -n 's/^KILN-VM-RESULT \([0-9]*\).*/\1/p' "$vm/console.log" | tr -d '\r' | tail -n 1)
if [ "$result" != 0 ]; then
  echo "test-vm: failed (${result:-no result}); see $vm/console.log" >&2
  exit 1
fi
echo "test-vm: passed"
