// Shape: the table itself. Read it top down as the reference of kiln.yaml.
#include "spec/shape.h"

#include "spec/internal/image_test_reader.h"
#include "spec/internal/shapes.h"

namespace kiln::spec {
namespace {

using Kind = Shape::Kind;

// The region's VPC has room for more; an Auto Scaling group of a first version needs a bound that catches a slip of the
// finger.
constexpr std::int64_t kFleetSizeMax = 1000;

Shape integer(std::int64_t min, std::int64_t max) { return {.kind = Kind::integer, .min = min, .max = max}; }

Shape seconds(std::int64_t min, std::int64_t max) { return {.kind = Kind::duration, .min = min, .max = max}; }

Shape with(const std::vector<Key>& keys, Shape whole) {
  whole.keys.insert(whole.keys.end(), keys.begin(), keys.end());
  return whole;
}

Shape overrides(const Shape& whole) {
  Shape shape = whole;
  shape.partial = true;
  return shape;
}

const Shape& image_shape() {
  static const Shape version = text("a version such as 1.4.2, or git, or timestamp",
                                    "git|timestamp|"
                                    "(0|[1-9][0-9]{0,8})\\.(0|[1-9][0-9]{0,8})\\.(0|[1-9][0-9]{0,8})"
                                    "(-[0-9A-Za-z.-]+)?(\\+[0-9A-Za-z.-]+)?");
  static const Shape steps = list(step_shape());
  static const Shape writable = list(absolute_folder(), 0);
  static const Shape shape = with(
      recipe_keys(),
      mapping({
          {"from", &base_shape(), "What the image starts from."},
          {"version", &version, "The image's version: a literal, git (the default; from the last tag), or timestamp."},
          {"steps", &steps, "What to do to the base, in order. Each step is a layer."},
          {"writable", &writable, "Makes the root read-only at run time but for these folders."},
          {"test", &image_test_shape(), "What a booted instance must do before the image is published."},
      }));
  return shape;
}

const Shape& fleet_shape() {
  static const Shape count = integer(0, kFleetSizeMax);
  static const Shape max_count = integer(1, 2 * kFleetSizeMax);
  static const Shape instance_type = text("an instance type, such as t3.micro", "[a-z][a-z0-9-]*\\.[a-z0-9-]+");
  static const Shape port = integer(1, 65535);
  static const Shape listen = mapping({
      {"port", &port, "The load balancer's port; 80 without it."},
      {"target_port", &port, "The instances' port; the same as 'port' without it."},
  });
  // https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_CreateTargetGroup.html gives the limits.
  static const Shape path = text("a path that begins with '/'", "/[!-~]{0,1023}");
  static const Shape interval = seconds(5, 300);
  static const Shape timeout = seconds(2, 120);
  static const Shape threshold = integer(2, 10);
  static const Shape status =
      text("HTTP statuses: 200, or 200,301, or 200-299", "[2-4][0-9]{2}(,[2-4][0-9]{2})*|[2-4][0-9]{2}-[2-4][0-9]{2}");
  static const Shape health = mapping({
      {"path", &path, "What the load balancer asks for."},
      {"interval", &interval, "Time between two checks."},
      {"timeout", &timeout, "How long an answer may take; less than the interval."},
      {"healthy", &threshold, "Successes in a row that make an instance healthy."},
      {"unhealthy", &threshold, "Failures in a row that make it unhealthy."},
      {"status", &status, "The answers that are a success."},
  });
  static const Shape up_to_an_hour = seconds(0, 3600);
  static const Shape up_to_two_hours = seconds(0, 7200);
  static const Shape shape = mapping({
      {"size", &count, "How many instances.", true},
      {"min", &count, "The Auto Scaling group's minimum; 'size' without it."},
      {"max", &max_count, "Its maximum, also while it is being replaced; twice 'size' without it."},
      {"instance_type", &instance_type, "CPU and memory of an instance."},
      {"listen", &listen, "Where the load balancer listens and where it forwards to."},
      {"health", &health, "How the load balancer finds out which instances are healthy."},
      {"drain", &up_to_an_hour, "How long an instance that goes may finish its requests."},
      {"warmup", &up_to_an_hour, "How long a new instance does not count yet after it is in service."},
      {"grace", &up_to_two_hours, "How long a new instance may fail its health checks before it is replaced."},
  });
  return shape;
}

const Shape& deploy_shape() {
  static const Shape strategy = choice({"rolling"}, {"blue_green", "canary", "linear"});
  static const Shape bake = seconds(0, 172'800);  // StartInstanceRefresh's BakeTime
  static const Shape rollback = choice({"automatic", "manual"});
  static const Shape timeout = seconds(10, 86'400);
  static const Shape proof = choice({"tested", "signed"});
  static const Shape proofs = list(proof, 0);  // an environment may ask for less than the app
  static const Shape shape = mapping({
      {"strategy", &strategy, "How the instances are replaced."},
      {"bake", &bake, "How long the new version must hold before it is final."},
      {"rollback", &rollback, "Whether a failed deployment goes back by itself."},
      {"timeout", &timeout, "When a deployment that does not end has failed."},
      {"requires", &proofs, "What an image must be to be deployed: tested, signed (by a key that is trusted here)."},
      {"alarms", nullptr, "health checks decide about a deployment now; remove this key"},
      {"steps", nullptr, "it belongs to the strategies canary and linear, which are not there yet"},
      {"hold", nullptr, "it belongs to the strategies canary and linear, which are not there yet"},
      {"approve", nullptr, "deployments start at once now; remove this key"},
  });
  return shape;
}

const Shape& environments_shape() {
  static const Shape endpoint =
      text("local, or a URL such as http://127.0.0.1:4566", "local|https?://[A-Za-z0-9.:\\[\\]-]+/?");
  static const Shape region = text("an AWS region, such as eu-west-1", "[a-z]{2}(-[a-z]+)+-[0-9]");
  static const Shape fleet = overrides(fleet_shape());
  static const Shape deploy = overrides(deploy_shape());
  static const Shape environment = mapping({
      {"endpoint", &endpoint, "local: the region on this machine. Without it: AWS."},
      {"region", &region, "The AWS region."},
      {"fleet", &fleet, "What differs from the app's fleet."},
      {"deploy", &deploy, "What differs from the app's deploy."},
      {"approve", nullptr, "deployments start at once now; remove this key"},
      {"image", nullptr, "one image goes through all environments; remove this key"},
  });
  static const Shape shape = {.kind = Kind::named,
                              .what = "lower-case letters, digits and '-', at most 20",
                              .pattern = "[a-z][a-z0-9-]{0,18}[a-z0-9]|[a-z]",
                              .item = &environment,
                              .min = 1,
                              .max = 20};
  return shape;
}

const Shape& channels_shape() {
  static const Shape proof = choice({"tested", "signed"});
  static const Shape proofs = list(proof);
  static const Shape name = text("a channel's name", "[a-z][a-z0-9-]{0,39}");
  static const Shape environment = text("an environment's name, or any", "[a-z][a-z0-9-]{0,19}");
  static const Shape person = text("who, as the ledger names them: user@host", "[^\\s@]+@[^\\s@]+");
  static const Shape people = one_or_more(person);
  static const Shape channel = mapping({
      {"requires", &proofs, "What must be there: tested, signed."},
      {"from", &name, "The channel that it must have been in before."},
      {"deployed", &environment, "The environment where it must have been deployed with success; any: in whichever."},
      {"approved_by", &people, "Who may let it in; one of them is enough."},
  });
  static const Shape shape = {.kind = Kind::named,
                              .what = "lower-case letters, digits and '-', at most 40",
                              .pattern = "[a-z][a-z0-9-]{0,39}",
                              .item = &channel,
                              .min = 1,
                              .max = 20};
  return shape;
}

}  // namespace

const Shape& app_shape() {
  // Names of load balancers and target groups are made from it, and those have 32 characters.
  static const Shape name =
      text("lower-case letters, digits and '-', at most 24", "[a-z][a-z0-9-]{0,22}[a-z0-9]|[a-z]");
  static const Shape shape = mapping({
      {"app", &name, "The app's name; everything that is made for it has this name.", true},
      {"image", &image_shape(), "What to bake.", true},
      {"fleet", &fleet_shape(), "What to run."},
      {"deploy", &deploy_shape(), "How to get from one version to the next."},
      {"environments", &environments_shape(), "Where it runs, in the order of promotion; each overrides what differs."},
      {"channels", &channels_shape(), "What an image must be to be promoted to a channel, such as staging."},
      {"pipeline", nullptr, "run 'kiln bake' and 'kiln deploy' from your CI"},
  });
  return shape;
}

}  // namespace kiln::spec
