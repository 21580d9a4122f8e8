// Command: the table of verbs, and their pages.
#include "cli/command.h"

#include <fmt/format.h>

#include "cli/embedded.h"

namespace kiln::cli {

const std::vector<CommandGroup>& command_groups() {
  static const std::vector<CommandGroup> kGroups = {
      {"to make and check images",
       {
           {"init", "write a first kiln.yaml", run_init},
           {"bake", "make an image from kiln.yaml and publish it", run_bake},
           {"test", "test an image on a booted instance", run_test},
           {"export", "write an image as an OCI image that other tools read", run_export},
           {"sbom", "print what is in an image, as SPDX or CycloneDX", run_sbom},
           {"keys", "make a key to sign with, or show one", run_keys},
           {"sign", "sign an image and what is said about it", run_sign},
           {"verify", "check an image's content, signatures, provenance and a policy", run_verify},
           {"push", "copy an image and what is said about it into a registry", run_push},
           {"pull", "copy an image of a registry into the store", run_pull},
           {"mirror", "copy images from one registry to another", run_mirror},
       }},
      {"to know images, and let them go",
       {
           {"images", "list the images that were baked, and where they are placed", run_images},
           {"show", "one image: layers, tests, where it runs, who did what", run_show},
           {"diff", "show what differs between two images", run_diff},
           {"search", "find images by package, file, commit or digest, and where they run", run_search},
           {"promote", "move a channel, such as staging, to a version", run_promote},
           {"deprecate", "mark an image as one that should be left", run_deprecate},
           {"disable", "let nobody launch an image any more", run_disable},
           {"revoke", "disable an image that must not run, and list who runs it", run_revoke},
           {"restore", "take back deprecate, disable or revoke", run_restore},
           {"gc", "let go of images that nothing refers to", run_gc},
           {"import", "take AMIs that are there already into the catalog", run_import},
       }},
      {"to replace fleets",
       {
           {"plan", "show what a deployment would do", run_plan},
           {"deploy", "replace the fleet by a version", run_deploy},
           {"status", "show the fleet as it is", run_status},
           {"rollback", "go back to the version before, without a bake", run_rollback},
           {"destroy", "end everything that belongs to the app", run_destroy},
           {"ledger", "read and verify what was done, by whom and when", run_ledger},
       }},
      {"to rehearse on this machine",
       {
           {"region", "run the AWS region on this machine", run_region},
           {"load", "send requests at a steady rate and check every answer", run_load},
           {"doctor", "check whether this host can run a region with real instances", run_doctor},
           {"demo", "walk through a whole deployment on this machine", run_demo},
       }},
  };
  return kGroups;
}

std::string help_overview() {
  std::string text =
      "Kiln bakes a machine image once, and from then on never changes a server: it\n"
      "replaces it.\n"
      "\n"
      "usage: kiln [-C FOLDER] COMMAND [WORDS]\n";
  for (const CommandGroup& group : command_groups()) {
    text += fmt::format("\n{}\n", group.purpose);
    for (const Command& command : group.commands) text += fmt::format("  {:<9}  {}\n", command.name, command.summary);
  }
  return text +
         "\n'kiln help COMMAND' tells more.\n"
         "\n"
         "exit codes\n"
         "  0    done as asked\n"
         "  1    failed, nothing changed\n"
         "  2    wrong usage or file\n"
         "  3    deployment failed and was rolled back\n"
         "  4    failed and could not be rolled back\n"
         "  5    held by someone else\n"
         "  6    verification found a difference\n"
         "  130  interrupted, and the same command goes on with it";
}

std::string_view help_page(std::string_view command) {
  for (const EmbeddedFile& page : help_pages()) {
    if (page.name == command) return page.text;
  }
  return {};
}

}  // namespace kiln::cli
