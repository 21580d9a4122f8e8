// Captures: how what an instance has written becomes a snapshot, an image, or a volume that stays, and how a data
// volume's snapshot becomes an image.
//
// The wishes are in the journal: a pending snapshot names its instance, `powered_down` that an instance is to be
// started again, a volume that is not deleted on termination that it is to be read first, a pending image a snapshot
// that is completed. So after a restart the same states lead on: what was being read is read again.
#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "region/ec2/state.h"

namespace kiln::region::ec2 {
namespace {

// Disks read at once: each takes one of the loop's few workers, which launches need too.
constexpr int kCapturesAtOnce = 2;

std::exception_ptr failure_of(ErrorCode code, std::string message) {
  return std::make_exception_ptr(Error(code, std::move(message)));
}

}  // namespace

void Ec2::State::want_capture(const Snapshot& snapshot) {
  captures[snapshot.instance_id].push_back(snapshot.id);
  loop.post([this, id = snapshot.instance_id] { advance(id); });
}

void Ec2::State::capture_ended() {
  --capturing;
  for (const auto& [waiting, snapshots_of_it] : captures) loop.post([this, id = waiting] { advance(id); });
  loop.post([this] { read_roots(); });
}

bool Ec2::State::awaits_root(const Image& image) const {
  if (image.state != ImageState::pending || image.root() == nullptr) return false;
  const auto snapshot = snapshots.find(image.root()->snapshot_id);
  return snapshot != snapshots.end() && snapshot->second.data && snapshot->second.state == SnapshotState::completed;
}

void Ec2::State::read_roots() {
  for (const auto& [id, image] : images) {
    if (capturing < kCapturesAtOnce && awaits_root(image) && !reading.contains(id)) read_root(image);
  }
}

void Ec2::State::read_root(const Image& image) {
  const std::string snapshot_id = image.root()->snapshot_id;
  store::ImageConfig config;
  config.architecture = image.architecture == "arm64" ? "arm64" : "amd64";
  config.read_only_root = false;
  config.history = {"the root of " + snapshot_id};
  ++capturing;
  reading[image.id] = snapshot_id;
  const machine::Captured done = [this, id = image.id, snapshot_id](std::exception_ptr failure, const Digest& content) {
    reading.erase(id);
    capture_ended();
    const auto found = images.find(id);
    if (found == images.end()) return;
    Image& made = found->second;
    made.digest = content;
    made.state = failure ? ImageState::failed : ImageState::available;
    if (failure) {
      made.state_message = fmt::format("{} cannot be the root device: {}", snapshot_id, message_of(failure));
      options.say(fmt::format("{}: {}", id, made.state_message));
    }
    save(made);
  };
  try {
    machines.image_of_volume(snapshot_id, config, done);
  } catch (const Error&) {
    loop.post([done, failure = std::current_exception()] { done(failure, Digest()); });
  }
}

bool Ec2::State::begins_capture(Instance& instance) {
  if (!instance.has_disk || instance.gone()) return false;
  const std::string id = instance.id;
  const auto wanted = captures.find(id);
  const auto volume = volumes.find(instance.volume_id);
  const bool ends = instance.state == InstanceState::shutting_down;
  const bool keeps = ends && volume != volumes.end() && !volume->second.delete_on_termination && !volume->second.kept;
  const bool waits = wanted != captures.end() && instance.state != InstanceState::pending && !instance.reboot;
  // `keep`: a failure, or the disk's content.
  const auto keep = [this](Instance& one, std::exception_ptr failure, const Digest& content) {
    const auto found = volumes.find(one.volume_id);
    if (found == volumes.end()) return;
    found->second.kept = true;
    if (failure) {
      options.say(fmt::format("what {} has written to {} is lost: {}", one.id, found->first, message_of(failure)));
    } else {
      found->second.content = content;
    }
    save(found->second);
  };
  // Reads the disk, or the data volume of a snapshot; the host may refuse at once.
  const auto read = [&](Snapshot* data, std::function<void(Instance&, std::exception_ptr, const Digest&)> done) {
    ++capturing;
    instance.busy = true;
    const machine::Captured read_it = [this, id, done](std::exception_ptr failure, const Digest& content) {
      capture_ended();
      then(id, [&](Instance& one, std::exception_ptr why) { done(one, why, content); })(failure);
    };
    try {
      if (data == nullptr) return machines.capture(id, read_it);
      const auto from = volumes.find(data->origin);
      if (from != volumes.end()) data->size_gib = from->second.size_gib;  // it may have grown since it was asked for
      machines.make_volume(data->id, static_cast<std::uint64_t>(data->size_gib), data->origin,
                           [read_it](std::exception_ptr failure) { read_it(failure, Digest()); });
    } catch (const Error&) {
      loop.post([read_it, failure = std::current_exception()] { read_it(failure, Digest()); });
    }
  };
  const auto host = [&](auto&& act, const machine::Done& done) {
    instance.busy = true;
    try {
      act(done);
    } catch (const Error&) {
      loop.post([done, failure = std::current_exception()] { done(failure); });
    }
  };

  if (waits) {
    const std::string snapshot_id = wanted->second.front();
    if (snapshots.at(snapshot_id).power_down && instance.state == InstanceState::running && !instance.powered_down) {
      instance.powered_down = true;
      save(instance);
      host([&](const machine::Done& done) { machines.stop(id, options.stop_deadline, done); },
           then(id, [this, snapshot_id](Instance& one, std::exception_ptr failure) {
             if (!failure) return;
             one.powered_down = false;
             settle(snapshot_id, failure, Digest());
           }));
      return true;
    }
    if (capturing >= kCapturesAtOnce) return true;  // the end of another goes on with it
    Snapshot& wish = snapshots.at(snapshot_id);
    read(wish.data ? &wish : nullptr,
         [this, snapshot_id](Instance&, std::exception_ptr failure, const Digest& content) {
           settle(snapshot_id, failure, content);
         });
    return true;
  }
  if (instance.powered_down && instance.state == InstanceState::running) {
    host([&](const machine::Done& done) { machines.start(id, done); },
         then(id, [this](Instance& one, std::exception_ptr failure) {
           one.powered_down = false;
           save(one);
           if (!failure || one.state != InstanceState::running) return;
           set_state(one, InstanceState::stopped, "Server.InternalError",
                     "Server.InternalError: " + message_of(failure));
         }));
    return true;
  }
  if (!keeps) return false;
  // A volume that outlives its instance holds what a clean end has left.
  bool up = false;
  try {
    up = machines.state(id) == machine::State::running;
  } catch (const Error&) {
    // Capturing it says that it is not there.
  }
  if (up) {
    host([&](const machine::Done& done) { machines.stop(id, options.end_deadline, done); },
         then(id, [keep](Instance& one, std::exception_ptr failure) {
           if (failure) keep(one, failure, Digest());
         }));
  } else {
    read(nullptr, keep);
  }
  return true;
}

void Ec2::State::settle(const std::string& snapshot_id, std::exception_ptr failure, const Digest& content) {
  Snapshot& snapshot = snapshots.at(snapshot_id);
  if (const auto waiting = captures.find(snapshot.instance_id); waiting != captures.end()) {
    std::erase(waiting->second, snapshot_id);
    if (waiting->second.empty()) captures.erase(waiting);
  }
  snapshot.state = failure ? SnapshotState::error : SnapshotState::completed;
  snapshot.content = content;
  if (failure) {
    snapshot.state_message = message_of(failure);
    options.say(fmt::format("{} of {}: {}", snapshot_id, snapshot.instance_id, snapshot.state_message));
  } else {
    snapshot.completed = loop.now();
  }
  save(snapshot);
  for (auto& [id, image] : images) {
    const auto has = [&](const BlockDevice& device) { return device.snapshot_id == snapshot_id; };
    if (image.state != ImageState::pending || std::ranges::none_of(image.devices, has)) continue;
    if (image.root()->snapshot_id == snapshot_id) image.digest = content;
    const bool waits = std::ranges::any_of(image.devices, [&](const BlockDevice& device) {
      const auto one = snapshots.find(device.snapshot_id);
      return one != snapshots.end() && one->second.state == SnapshotState::pending;
    });
    if (!failure && waits) {
      save(image);
      continue;
    }
    image.state = failure ? ImageState::failed : ImageState::available;
    image.state_message = snapshot.state_message;
    save(image);
  }
}

void Ec2::State::resume_captures() {
  std::vector<const Snapshot*> pending;
  for (const auto& [id, snapshot] : snapshots) {
    const bool of_volume = snapshot.data && snapshot.instance_id.empty();  // resume_volumes
    if (snapshot.state == SnapshotState::pending && !of_volume) pending.push_back(&snapshot);
  }
  std::sort(pending.begin(), pending.end(),
            [](const Snapshot* a, const Snapshot* b) { return a->started < b->started; });
  for (const Snapshot* snapshot : pending) {
    const auto instance = instances.find(snapshot->instance_id);
    if (instance == instances.end() || instance->second.gone()) {
      settle(snapshot->id, failure_of(ErrorCode::not_found, "the instance has ended"), Digest());
    } else {
      want_capture(*snapshot);
    }
  }
  loop.post([this] { read_roots(); });
}

}  // namespace kiln::region::ec2
