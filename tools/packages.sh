# Packages: the names of Debian 12's packages that Kiln is built from (build), runs with (run), is tested with (test), and that
# a virtual machine for it is made with (vm). Read by setup.sh and test_vm.sh.
build=(
  build-essential cmake ninja-build pkg-config python3 ca-certificates git
  libcurl4-openssl-dev nlohmann-json3-dev libpugixml-dev libyaml-cpp-dev libssl-dev libzstd-dev
  libarchive-dev libsqlite3-dev libsystemd-dev libcli11-dev libfmt-dev libre2-dev libgtest-dev libgmock-dev
)
run=(
  mmdebstrap debian-archive-keyring ca-certificates systemd-container haproxy nftables erofs-utils e2fsprogs slirp4netns iproute2 kmod
  util-linux buildah skopeo
)
test=(lld ccache clang clang-format libclang-rt-14-dev python3-venv curl procps openssh-client openssl packer awscli
  docker-registry apache2-utils gpg gpg-agent)
vm=(qemu-system-x86 e2fsprogs)
