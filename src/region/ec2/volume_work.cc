// Volume work: what the machines' host does for data volumes and their snapshots.
//
// The wishes are in the journal: a volume that is not made, one that is deleted, an attachment on its way, a change
// that has not ended, a snapshot that is pending. Each may be asked for again after a restart. What an instance has is
// changed in its own turn, as all that its machine is asked for; see `advance`.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/text.h"
#include "region/ec2/state.h"

namespace kiln::region::ec2 {
namespace {

bool is_conflict(const std::exception_ptr& failure) {
  try {
    std::rethrow_exception(failure);
  } catch (const Error& error) {
    return error.code() == ErrorCode::conflict;
  } catch (const std::exception&) {
    return false;
  }
}

}  // namespace

std::vector<Volume*> Ec2::State::data_volumes_of(const std::string& instance_id) {
  std::vector<Volume*> found;
  for (const Volume* volume : std::as_const(*this).data_volumes_of(instance_id)) {
    found.push_back(&volumes.at(volume->id));
  }
  return found;
}

std::vector<const Volume*> Ec2::State::data_volumes_of(const std::string& instance_id) const {
  std::vector<const Volume*> found;
  for (auto at = had.lower_bound({instance_id, ""}); at != had.end() && at->first == instance_id; ++at) {
    const auto volume = volumes.find(at->second);
    if (volume != volumes.end() && volume->second.instance_id == instance_id) found.push_back(&volume->second);
  }
  return found;
}

void Ec2::State::volume_later(Volume& volume, const std::string& what, std::exception_ptr failure) {
  const bool first = volume.retry_in == Duration(0);
  const Duration pause = next_pause(volume.retry_in);
  if (first) {
    options.say(
        fmt::format("{} of {}: {}; trying again in {}", what, volume.id, message_of(failure), format_duration(pause)));
  }
  volume.waiting = true;
  loop.after(pause, [this, id = volume.id] {
    const auto found = volumes.find(id);
    if (found == volumes.end()) return;
    found->second.waiting = false;
    advance_volume(id);
  });
}

void Ec2::State::remove_from_host(const std::string& id) {
  // One that cannot be removed now is at the next start of the region, as all that nobody knows.
  machines.remove_volume(id, [this, id](std::exception_ptr failure) {
    if (failure) options.say(fmt::format("the volume {} stays on this host: {}", id, message_of(failure)));
  });
}

void Ec2::State::advance_volume(const std::string& id) {
  const auto found = volumes.find(id);
  if (found == volumes.end() || found->second.busy || found->second.waiting) return;
  Volume& volume = found->second;
  // Asks the host; `done` has the volume again, and then it goes on.
  const auto ask = [&](auto&& act, std::function<void(Volume&, std::exception_ptr)> done) {
    volume.busy = true;
    const machine::Done ended = [this, id, done = std::move(done)](std::exception_ptr failure) {
      const auto again = volumes.find(id);
      if (again == volumes.end()) return;
      again->second.busy = false;
      done(again->second, failure);
      const std::string instance_id = volumes.contains(id) ? volumes.at(id).instance_id : "";
      advance_volume(id);
      if (!instance_id.empty()) advance(instance_id);
    };
    try {
      act(ended);
    } catch (const Error&) {
      loop.post([ended, failure = std::current_exception()] { ended(failure); });
    }
  };

  if (volume.data && !volume.made && volume.failure.empty()) {
    return ask(
        [&](const machine::Done& done) {
          machines.make_volume(id, static_cast<std::uint64_t>(volume.size_gib), volume.snapshot_id, done);
        },
        [this](Volume& one, std::exception_ptr failure) {
          one.made = !failure;
          if (failure) one.failure = message_of(failure);
          if (failure) options.say(fmt::format("{} cannot be made: {}", one.id, one.failure));
          save(one);
        });
  }
  const auto pending = std::ranges::find_if(snapshots, [&](const auto& entry) {
    const Snapshot& one = entry.second;
    return one.data && one.origin == id && one.state == SnapshotState::pending && one.instance_id.empty();
  });
  if (pending != snapshots.end() && volume.instance_id.empty()) return copy_snapshot(pending->first);
  if (pending != snapshots.end()) {  // it has been attached meanwhile
    pending->second.instance_id = volume.instance_id;
    save(pending->second);
    return want_capture(pending->second);
  }
  if (volume.deleting) {
    const bool data = volume.data;
    journal.erase(kVolumeTable, id);
    volumes.erase(found);
    if (data) remove_from_host(id);
    return;
  }
  if (!volume.instance_id.empty()) return advance(volume.instance_id);
  if (volume.change && !volume.change->ended) {
    return ask(
        [&](const machine::Done& done) { machines.grow_volume(id, static_cast<std::uint64_t>(volume.size_gib), done); },
        [this](Volume& one, std::exception_ptr failure) {
          if (failure) return volume_later(one, "growing", failure);
          one.retry_in = Duration(0);
          one.change->ended = loop.now();
          save(one);
        });
  }
}

void Ec2::State::copy_snapshot(const std::string& id) {
  const Snapshot& snapshot = snapshots.at(id);
  const auto volume = volumes.find(snapshot.origin);
  if (volume != volumes.end()) {
    volume->second.busy = true;
    snapshots.at(id).size_gib = volume->second.size_gib;
  }
  const machine::Done done = [this, id, origin = snapshot.origin](std::exception_ptr failure) {
    if (const auto from = volumes.find(origin); from != volumes.end()) from->second.busy = false;
    settle(id, failure, Digest());
    advance_volume(origin);
  };
  try {
    machines.make_volume(id, static_cast<std::uint64_t>(snapshot.size_gib), snapshot.origin, done);
  } catch (const Error&) {
    loop.post([done, failure = std::current_exception()] { done(failure); });
  }
}

bool Ec2::State::awaits_volumes(const Instance& instance) {
  for (Volume* volume : data_volumes_of(instance.id)) {
    if (volume->made) continue;
    if (volume->failure.empty()) {
      advance_volume(volume->id);
      return true;
    }
    const std::string why = fmt::format("Client.InternalError: {} cannot be made: {}", volume->id, volume->failure);
    set_state(instances.at(instance.id), InstanceState::terminated, "Client.InternalError", why);
    return true;
  }
  return false;
}

void Ec2::State::volumes_launched(const Instance& instance) {
  for (Volume* volume : data_volumes_of(instance.id)) {
    if (volume->attachment != Attachment::attaching) continue;
    volume->attachment = Attachment::attached;
    save(*volume);
  }
}

bool Ec2::State::begins_volume(Instance& instance) {
  const bool still = instance.state == InstanceState::running || instance.state == InstanceState::stopped;
  if (!still || !instance.has_disk || instance.reboot || instance.powered_down) return false;
  const std::string id = instance.id;
  // Asks the host; one thing at a time for an instance.
  const auto ask = [&](Volume& volume, auto&& act, std::function<void(Volume&, std::exception_ptr)> done) {
    instance.busy = true;
    const machine::Done ended = then(id, [this, name = volume.id, done = std::move(done)](Instance&, auto failure) {
      const auto found = volumes.find(name);
      if (found != volumes.end()) done(found->second, failure);
    });
    try {
      act(ended);
    } catch (const Error&) {
      loop.post([ended, failure = std::current_exception()] { ended(failure); });
    }
    return true;
  };
  for (Volume* volume : data_volumes_of(id)) {
    if (volume->busy || volume->waiting || !volume->made) continue;
    if (volume->attachment == Attachment::attaching) {
      return ask(
          *volume,
          [&](const machine::Done& done) {
            machines.attach_volume(id, {volume->id, volume->device}, done);
          },
          [this](Volume& one, std::exception_ptr failure) {
            if (failure && is_conflict(failure)) return volume_later(one, "attaching", failure);
            one.retry_in = Duration(0);
            one.attachment = Attachment::attached;
            if (failure) {
              options.say(fmt::format("{} cannot be attached to {}: {}", one.id, one.instance_id, message_of(failure)));
              one.instance_id.clear();
              one.device.clear();
            }
            save(one);
          });
    }
    if (volume->attachment == Attachment::detaching) {
      return ask(
          *volume, [&](const machine::Done& done) { machines.detach_volume(id, volume->id, done); },
          [this](Volume& one, std::exception_ptr failure) {
            if (failure && !is_absent(failure)) return volume_later(one, "detaching", failure);
            one.retry_in = Duration(0);
            one.attachment = Attachment::attached;
            one.instance_id.clear();
            one.device.clear();
            save(one);
            loop.post([this, name = one.id] { advance_volume(name); });
          });
    }
    if (volume->change && !volume->change->ended) {
      return ask(
          *volume,
          [&](const machine::Done& done) {
            machines.grow_volume(volume->id, static_cast<std::uint64_t>(volume->size_gib), done);
          },
          [this](Volume& one, std::exception_ptr failure) {
            if (failure) return volume_later(one, "growing", failure);
            one.retry_in = Duration(0);
            one.change->ended = loop.now();
            save(one);
          });
    }
  }
  return false;
}

void Ec2::State::release_data_volumes(const std::string& instance_id) {
  for (Volume* volume : data_volumes_of(instance_id)) {
    volume->deleting = volume->delete_on_termination;
    volume->instance_id.clear();
    volume->device.clear();
    volume->attachment = Attachment::attached;
    volume->retry_in = Duration(0);
    save(*volume);
    loop.post([this, id = volume->id] { advance_volume(id); });
  }
}

void Ec2::State::resume_volumes() {
  for (const auto& [id, volume] : volumes) {
    if (volume.data || volume.deleting) loop.post([this, name = id] { advance_volume(name); });
  }
  for (const auto& [id, snapshot] : snapshots) {
    const bool copy = snapshot.data && snapshot.state == SnapshotState::pending && snapshot.instance_id.empty();
    if (copy && !volumes.contains(snapshot.origin)) loop.post([this, name = id] { copy_snapshot(name); });
  }
}

}  // namespace kiln::region::ec2
