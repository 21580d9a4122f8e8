// BakedBaseImages: the recipe of Debian 12, and its bake off the loop.
#include "cli/base_images.h"

#include <fmt/format.h>

#include <memory>

#include "bake/bake.h"
#include "base/time.h"
#include "cli/context.h"

namespace kiln::cli {
namespace {

// Host keys, the user `debian`, its key and user data are cloud-init's work at the first boot. The network is made from
// outside, so nothing in the image configures it, and there is no disk to grow.
// No RSA host key: to make one takes longer than the rest of the boot, and no client of today needs it.
constexpr const char* kDebian12 = R"(app: debian-12-amd64
image:
  from: debian:bookworm
  version: 12.0.20251103
  steps:
    - packages:
        [bash-completion, ca-certificates, cloud-init, curl, dbus, e2fsprogs, file, gnupg, iputils-ping, less,
         libpam-systemd, lsb-release, man-db, netbase, openssh-client, openssh-server, procps, psmisc, python3,
         python3-apt, rsync, sudo, vim-tiny, wget]
    - run:
        - |
          cat > /etc/cloud/cloud.cfg.d/95_ec2.cfg <<EOF
          datasource_list: [Ec2]
          datasource: {Ec2: {strict_id: false}}
          network: {config: disabled}
          apt: {preserve_sources_list: true}
          locale: C.UTF-8
          ssh_pwauth: false
          manage_etc_hosts: true
          resize_rootfs: false
          growpart: {mode: "off"}
          ssh_genkeytypes: [ecdsa, ed25519]
          EOF
)";

}  // namespace

BakedBaseImages::BakedBaseImages(host::Loop& loop, host::Clock& clock, store::Store& store, host::Path home,
                                 std::function<void(const std::string&)> say)
    : loop_(loop), clock_(clock), store_(store), home_(std::move(home)), say_(std::move(say)) {}

void BakedBaseImages::make(const std::string& name, Done done) {
  std::vector<Done>& waiting = asked_[name];
  waiting.push_back(std::move(done));
  if (waiting.size() > 1) return;
  const auto digest = std::make_shared<Digest>();
  loop_.offload([this, digest] { *digest = bake(); },
                [this, name, digest](const std::exception_ptr& failure) {
                  const auto waited = asked_.extract(name);
                  for (const Done& one : waited.mapped()) one(failure, *digest);
                });
}

Digest BakedBaseImages::bake() const {
  return bake_debian_12(home_, store_, clock_, [&](const bake::Progress& progress) {
    if (progress.kind != bake::Progress::Kind::finished || progress.reused) return;
    say_(fmt::format("debian-12-amd64: {} of {}, {}: {}", progress.index + 1, progress.count, progress.step,
                     format_duration(progress.duration)));
  });
}

Digest bake_debian_12(const host::Path& home, store::Store& store, host::Clock& clock,
                      std::function<void(const bake::Progress&)> on_progress) {
  const spec::App app = spec::parse_app(kDebian12, "debian-12-amd64");
  bake::Options options;
  options.cache = home / "cache";
  options.logs = home / "logs" / "bake";
  options.kiln_version = kVersion;
  options.on_progress = std::move(on_progress);
  return bake::bake(app, home, store, clock, options).image.digest;
}

}  // namespace kiln::cli
