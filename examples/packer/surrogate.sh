# Makes a root file system on the volume /dev/xvdf: a copy of this instance's own, with a web server of its own. AWS needs
# a boot loader on the disk beside it, as any AMI of a disk does: grub-install, in a partition table.
set -eu
disk=/dev/xvdf
root=/mnt
mkfs.ext4 -q "$disk"
mount "$disk" "$root"
cp -ax /. "$root"
# What is this instance's own.
rm -rf "$root"/var/lib/cloud/* "$root"/home/*/.ssh "$root"/root/.ssh "$root"/etc/ssh/ssh_host_*
: >"$root/etc/machine-id"
mkdir -p "$root/srv/page"
echo 'from a surrogate' >"$root/srv/page/index.html"
cat >"$root/etc/systemd/system/page.service" <<'UNIT'
[Unit]
Description=A page on port 80

[Service]
ExecStart=/usr/bin/python3 -m http.server 80 --directory /srv/page

[Install]
WantedBy=multi-user.target
UNIT
chroot "$root" systemctl enable page.service
umount "$root"
