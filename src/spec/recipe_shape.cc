// Shape: what `image:` may hold. Read it bottom up as the reference of a recipe.
#include "spec/internal/shapes.h"
#include "spec/shape.h"

namespace kiln::spec {
namespace {

using Kind = Shape::Kind;

Shape one_key_of(Shape shape) {
  shape.exactly_one_key = true;
  return shape;
}

Shape named(std::string_view what, std::string_view pattern, const Shape& item) {
  return {.kind = Kind::named, .what = what, .pattern = pattern, .item = &item, .min = 1, .max = 1000};
}

const Shape& package_name() {
  // Debian policy 5.6.1 and 5.6.12. A name that ends in '-' would ask apt to remove the package.
  static const Shape shape =
      text("a Debian package, or package=version", "[a-z0-9][a-z0-9+.-]*[a-z0-9+.](=[A-Za-z0-9][A-Za-z0-9.+:~-]*)?");
  return shape;
}

const Shape& unit_name() {
  static const Shape shape = text("a systemd unit, such as nginx or backup.timer", "[A-Za-z0-9][A-Za-z0-9@_.:-]*");
  return shape;
}

const Shape& command() {
  static const Shape shape = text("a shell command", "");
  return shape;
}

const Shape& any_text() {
  static const Shape shape = text("a text", "");
  return shape;
}

const Shape& inner_file() {
  static const Shape shape = text("a file or folder below this file's folder", "[^/\\n][^\\n]*");
  return shape;
}

const Shape& word() {
  static const Shape shape = text("a name of letters, digits, '-', '_' and '.'", "[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}");
  return shape;
}

const Shape& words() {
  static const Shape shape = list(word(), 0);
  return shape;
}

const Shape& mirror_url() {
  static const Shape shape = text("a URL, such as http://deb.debian.org/debian", "https?://[A-Za-z0-9.:\\[\\]_~/%+-]+");
  return shape;
}

const Shape& absolute_path() {
  static const Shape shape = text("an absolute path", "/[^\\n]*");
  return shape;
}

const Shape& file_mode() {
  static const Shape shape = text("a file mode in octal, such as 0644", "0?[0-7]{3}|[0-7]{4}");
  return shape;
}

const Shape& owner() {
  static const Shape shape =
      text("user:group as names or numbers, such as www-data:www-data or 33:33, or a user's name",
           "[0-9]{1,9}:[0-9]{1,9}|[a-z_][a-z0-9_-]{0,31}(:[a-z_][a-z0-9_-]{0,31})?");
  return shape;
}

const Shape& variables() {
  static const Shape shape = named("letters, digits, '_', '-' and '.'", "[A-Za-z_][A-Za-z0-9_.-]{0,62}", any_text());
  return shape;
}

const Shape& environment() {
  static const Shape shape = named("letters, digits and '_'", "[A-Za-z_][A-Za-z0-9_]*", any_text());
  return shape;
}

const Shape& copy_shape() {
  static const Shape ignore = list(any_text());
  static const Shape shape = mapping({
      {"from", &inner_file(), "What to copy; with a '/' at its end: what is in that folder.", true},
      {"to", &absolute_path(), "Where to; with a '/' at its end: into that folder.", true},
      {"mode", &file_mode(), "Mode of the files. Without it: 0755 for files that can be run, else 0644."},
      {"owner", &owner(), "Owner: root:root without it."},
      {"ignore", &ignore, "What is not copied, in the words of a .gitignore; beside what .kilnignore names."},
  });
  return shape;
}

const Shape& template_shape() {
  static const Shape shape = mapping({
      {"from", &inner_file(), "A text file in which every {{ name }} is a variable.", true},
      {"to", &absolute_path(), "Where to; with a '/' at its end: into that folder.", true},
      {"mode", &file_mode(), "Mode of the file. Without it: 0755 for a file that can be run, else 0644."},
      {"owner", &owner(), "Owner: root:root without it."},
      {"variables", &variables(), "Variables of this file, before those of the image."},
  });
  return shape;
}

const Shape& run_shape() {
  static const Shape commands = one_or_more(command());
  static const Shape shell = one_or_more(any_text());
  static const Shape shape = mapping_or(
      commands,
      {
          {"commands", &commands, "What to run, one after the other; the first that fails ends the bake.", true},
          {"shell", &shell, "What runs a command: /bin/sh -ec without it; one word gets -ec."},
          {"environment", &environment(), "Environment variables of the commands."},
          {"secrets", &words(), "Names of the image's secrets: files in /run/kiln/secrets/."},
      });
  return shape;
}

const Shape& user_shape() {
  static const Shape name = text("a user's name: lower-case letters, digits, '-' and '_'", "[a-z_][a-z0-9_-]{0,31}");
  static const Shape groups = list(name);
  static const Shape uid = {.kind = Kind::integer, .min = 1, .max = 59'999};
  static const Shape system = choice({"true", "false"});
  static const Shape path = text("an absolute path", "(/[A-Za-z0-9_@+-][A-Za-z0-9._@+-]*)+");
  static const Shape shape = mapping_or(name, {
                                                  {"name", &name, "The user's name; its group has the same.", true},
                                                  {"uid", &uid, "Its number; the next one that is free without it."},
                                                  {"groups", &groups, "Further groups, which must be there."},
                                                  {"shell", &path, "Its shell; /usr/sbin/nologin without it."},
                                                  {"home", &path, "Its home, which is made; without it /nonexistent."},
                                                  {"system", &system, "true: a number from those of system users."},
                                              });
  return shape;
}

const Shape& packer_shape() {
  static const Shape files = one_or_more(inner_file());
  static const Shape names = one_or_more(any_text());
  static const Shape shape = mapping_or(
      inner_file(), {
                        {"template", &inner_file(), "A template: .json, .pkr.hcl, or a folder of these.", true},
                        {"variables", &variables(), "As packer's -var."},
                        {"variable_files", &files, "As packer's -var-file."},
                        {"only", &names, "As packer's -only."},
                    });
  return shape;
}

const Shape& dockerfile_shape() {
  static const Shape context = text("a folder below this file's folder, or '.'", "[^/\\n][^\\n]*");
  static const Shape shape = mapping_or(
      inner_file(), {
                        {"file", &inner_file(), "The Dockerfile.", true},
                        {"context", &context, "The folder that COPY copies from; this file's folder without it."},
                        {"target", &word(), "The stage to build; the last without it."},
                        {"args", &environment(), "Values of ARG."},
                    });
  return shape;
}

const Shape& image_builder_shape() {
  static const Shape components = list(inner_file());
  static const Shape shape = mapping({
      {"recipe", &inner_file(), "A recipe document."},
      {"components", &components, "Component documents, in order, instead of a recipe."},
      {"parameters", &variables(), "Values of the components' parameters."},
  });
  return shape;
}

const Shape& secrets_shape() {
  static const Shape env = text("an environment variable's name", "[A-Za-z_][A-Za-z0-9_]*");
  static const Shape secret = mapping({
      {"name", &word(), "Its name, and that of its file in /run/kiln/secrets/.", true},
      {"env", &env, "The environment variable of 'kiln bake' that has it."},
      {"file", &any_text(), "The file that has it."},
  });
  static const Shape shape = list(secret);
  return shape;
}

const Shape& repositories_shape() {
  static const Shape suite = text("a suite, such as bookworm or ./", "[A-Za-z0-9./_-]+");
  static const Shape repository = mapping({
      {"name", &word(), "Its name.", true},
      {"url", &mirror_url(), "Where it is.", true},
      {"suite", &suite, "Its suite.", true},
      {"components", &words(), "Its components; none for a flat repository, whose suite ends in '/'."},
      {"key", &inner_file(), "The file with the public key that signs it.", true},
  });
  static const Shape shape = list(repository);
  return shape;
}

const Shape& ami_shape() {
  static const Shape id = text("an AMI's id", "ami-[0-9a-f]{8,17}");
  static const Shape owner_item = text("an account's number, self or amazon", "[0-9]{12}|[a-z-]+");
  static const Shape owners = one_or_more(owner_item);
  static const Shape values = one_or_more(any_text());
  static const Shape filters = named("a filter of DescribeImages", "[a-z][a-z0-9:.-]*", values);
  static const Shape most_recent = choice({"true", "false"});
  static const Shape shape = mapping_or(id, {
                                                {"id", &id, "The AMI."},
                                                {"owners", &owners, "As DescribeImages' Owners."},
                                                {"filters", &filters, "As DescribeImages' filters."},
                                                {"most_recent", &most_recent, "true: of several, the newest."},
                                            });
  return shape;
}

}  // namespace

const Shape& absolute_folder() {
  static const Shape shape =
      text("an absolute folder, such as /var/lib/nginx", "(/[A-Za-z0-9_@+-][A-Za-z0-9._@+-]*)+/?");
  return shape;
}

const Shape& base_shape() {
  static const Shape debian = choice({"debian:bookworm", "debian:trixie"});
  static const Shape image =
      text("NAME@VERSION, NAME@CHANNEL or NAME@sha256:DIGEST", "[a-z][a-z0-9-]{0,23}@[A-Za-z0-9][A-Za-z0-9.+:_-]*");
  static const Shape oci =
      text("an OCI reference, such as oci:folder:tag or docker://registry/name:tag", "[a-z-]+:[^\\s]+");
  static const Shape shape =
      one_key_of(mapping_or(debian, {
                                        {"image", &image, "An image of the catalog."},
                                        {"ami", &ami_shape(), "An AMI of the environment's region."},
                                        {"archive", &inner_file(), "A tar archive of a root."},
                                        {"oci", &oci, "An OCI image."},
                                    }));
  return shape;
}

const Shape& step_shape() {
  static const Shape packages = list(package_name());
  static const Shape units = one_or_more(unit_name());
  static const Shape host = one_or_more(command());
  static const Shape shape = one_key_of(mapping({
      {"packages", &packages, "Debian packages to install, without what they only recommend."},
      {"copy", &copy_shape(), "A file or folder to copy into the image."},
      {"template", &template_shape(), "A file in which variables are put."},
      {"run", &run_shape(), "Commands, as root, in the image."},
      {"enable", &units, "systemd units that start at boot."},
      {"disable", &units, "systemd units that do not start at boot."},
      {"user", &user_shape(), "A user to add."},
      {"host", &host, "Commands for /bin/sh on this machine, at every bake, before anything is made."},
      {.name = "name", .shape = &word(), .about = "The step's name, for 'after'.", .beside = true},
      {.name = "after",
       .shape = &words(),
       .about = "Names of the steps that it needs; without it: all above it.",
       .beside = true},
  }));
  return shape;
}

std::vector<Key> recipe_keys() {
  static const Shape argument = text("a kernel argument", "[!#%-&(-[\\]-_a-~]+");
  static const Shape arguments = list(argument);
  return {
      {"packer", &packer_shape(), "A Packer template instead of 'from' and 'steps'."},
      {"dockerfile", &dockerfile_shape(), "A Dockerfile instead of 'from' and 'steps'."},
      {"image_builder", &image_builder_shape(), "EC2 Image Builder's documents instead of 'steps'."},
      {"variables", &variables(), "Values for templates."},
      {"secrets", &secrets_shape(), "What commands may read and the image never holds."},
      {"repositories", &repositories_shape(), "Package repositories beside Debian's."},
      {"mirror", &mirror_url(), "Debian's mirror, or a snapshot of it."},
      {"security_mirror", &mirror_url(), "The mirror of Debian's security updates."},
      {"kernel_arguments", &arguments, "Arguments of the kernel: /etc/kernel/cmdline and GRUB's defaults."},
  };
}

}  // namespace kiln::spec
