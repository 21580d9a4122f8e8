// Disk: see disk.h.
#include "builder/disk.h"

#include <archive.h>
#include <archive_entry.h>
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>
#include <vector>

#include "base/error.h"
#include "base/text.h"
#include "proof/dpkg.h"
#include "trial/secrets.h"

namespace kiln::builder {
namespace {

constexpr std::size_t kUnpackedMost = std::size_t{256} << 20;  // a million files have some 200 MiB

// Everything is relative to the disk's root. Sums are as md5sum and its kin print them: a name with a line's end or a
// backslash in it is escaped, and its line begins with a backslash.
constexpr const char* kFiles = R"(
found() {
  find . -xdev -mindepth 1 \( -path ./proc -o -path ./sys -o -path ./dev -o -path ./run -o -path ./tmp \
    -o -path ./var/tmp \) -prune -o "$@"
}
found -printf '%y %m %U %G %s\0/%P\0%l\0' >"$out/files"
found -type f -print0 | xargs -0r sha256sum -- >"$out/sha256"
)";

// Loose files: those whose MD5 no package names. A package may name a file by /bin where that is a link to /usr/bin.
constexpr const char* kLoose = R"(
links=' '
for top in bin sbin lib lib32 lib64 libx32; do [ ! -L $top ] || links="$links$top "; done
real='function real(path) {
  top = path; sub("/.*", "", top)
  return "./" (index(links, " " top " ") ? "usr/" : "") path
}
'
find var/lib/dpkg/info -name '*.md5sums' -exec cat {} + 2>/dev/null |
  awk -v links="$links" "$real"'{ print substr($0, 1, 34) real(substr($0, 35)) }' >"$work/known"
found -type f -print0 | xargs -0r md5sum -- |
  awk -v known="$work/known" 'BEGIN { while ((getline line <known) > 0) is[line] }
    !($0 in is) && !/^\\/ { print substr($0, 35) }' >"$work/loose"
line='
'
{
  tr '\n' '\0' <"$work/loose"
  found -type f \( -path '*\\*' -o -path "*$line*" \) -print0
} >"$work/names"
xargs -0r md5sum -- <"$work/names" >"$out/md5"
xargs -0r sha1sum -- <"$work/names" >"$out/sha1"
find var/lib/dpkg/info \( -name '*.list' -o -name '*.md5sums' \) -print0 2>/dev/null | xargs -0r \
  awk -v links="$links" -v loose="$work/loose" "$real"'BEGIN { while ((getline line <loose) > 0) is[line] }
    { path = FILENAME ~ /\.list$/ ? substr($0, 2) : substr($0, 35) }
    real(path) in is { print "/" FILENAME "\t" $0 }' >"$out/texts"
)";

// Of a machine-readable copyright the fields that name licences, each paragraph still a paragraph.
constexpr const char* kTexts = R"(
find usr/share/doc -mindepth 2 -maxdepth 2 -name copyright -type f -print0 2>/dev/null | xargs -0r \
  awk 'FNR == 1 { reads = tolower($0) ~ /^format:/ }
    reads && (/^$/ || tolower($0) ~ /^(format|files|license):/) { print "/" FILENAME "\t" $0 }' >"$out/licences"
for text in var/lib/dpkg/status etc/os-release usr/lib/os-release; do
  if [ -f $text ] && [ ! -L $text ]; then sed "s|^|/$text\t|" $text >>"$out/texts"; fi
done
)";

std::map<std::string, std::string> unpack(std::string_view packed) {
  const std::unique_ptr<archive, int (*)(archive*)> reader(archive_read_new(), archive_read_free);
  const auto refuse = [&] {
    const char* why = archive_error_string(reader.get());
    throw Error(ErrorCode::corrupt,
                fmt::format("what a disk holds cannot be read: {}", why == nullptr ? "no archive" : why));
  };
  archive_read_support_filter_gzip(reader.get());
  archive_read_support_format_tar(reader.get());
  if (archive_read_open_memory(reader.get(), packed.data(), packed.size()) != ARCHIVE_OK) refuse();
  std::map<std::string, std::string> all;
  std::size_t total = 0;
  archive_entry* entry = nullptr;
  int result = ARCHIVE_OK;
  while ((result = archive_read_next_header(reader.get(), &entry)) == ARCHIVE_OK) {
    if (archive_entry_filetype(entry) != AE_IFREG) continue;
    const la_int64_t size = archive_entry_size(entry);
    if (size < 0 || (total += static_cast<std::size_t>(size)) > kUnpackedMost)
      throw Error(ErrorCode::corrupt, "what a disk holds is too much to be read");
    std::string& content = all[host::Path(archive_entry_pathname(entry)).filename().string()];
    content.resize(static_cast<std::size_t>(size));
    if (archive_read_data(reader.get(), content.data(), content.size()) != size) refuse();
  }
  if (result != ARCHIVE_EOF) refuse();
  return all;
}

// "./a\\nb" of an escaped line.
std::string unescape(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\' || i + 1 == text.size()) {
      out += text[i];
      continue;
    }
    const char next = text[++i];
    out += next == 'n' ? '\n' : next == 'r' ? '\r' : next;
  }
  return out;
}

// Lines of md5sum and its kin: absolute path → sum.
std::map<std::string, std::string> read_sums(const std::string& text, std::size_t digits) {
  std::map<std::string, std::string> sums;
  for (const std::string& line : split(text, '\n')) {
    const bool escaped = line.starts_with('\\');
    const std::string_view sum = std::string_view(line).substr(escaped ? 1 : 0);
    if (sum.size() < digits + 4) continue;
    const std::string name(sum.substr(digits + 3));  // two blanks and the dot
    sums[escaped ? unescape(name) : name] = sum.substr(0, digits);
  }
  return sums;
}

// "path\tline" lines: path → its lines.
std::map<std::string, std::string> read_texts(const std::string& text) {
  std::map<std::string, std::string> texts;
  for (const std::string& line : split(text, '\n')) {
    const auto tab = line.find('\t');
    if (tab != std::string::npos) texts[line.substr(0, tab)] += line.substr(tab + 1) + "\n";
  }
  return texts;
}

std::map<std::string, proof::FileRecord> read_files(const std::string& text) {
  std::map<std::string, proof::FileRecord> files;
  const std::vector<std::string> fields = split(text, '\0');
  for (std::size_t i = 0; i + 2 < fields.size(); i += 3) {
    const std::vector<std::string> facts = split(fields[i], ' ');
    if (facts.size() != 5 || facts[0].size() != 1)
      throw Error(ErrorCode::corrupt, fmt::format("a disk's list of files has '{}' in it", fields[i]));
    const auto number = [&](std::size_t at) { return static_cast<std::uint64_t>(parse_int(facts[at]).value_or(0)); };
    proof::FileRecord file;
    file.type = facts[0][0];
    for (const char digit : facts[1]) file.mode = file.mode * 8 + static_cast<unsigned>(digit - '0');
    file.uid = static_cast<std::uint32_t>(number(2));
    file.gid = static_cast<std::uint32_t>(number(3));
    if (file.type == 'f') file.size_bytes = number(4);
    if (file.type == 'l') file.target = fields[i + 2];
    files.emplace(fields[i + 1], std::move(file));
  }
  return files;
}

}  // namespace

std::string disk_question(const std::string& root) {
  return fmt::format("cd '{}' || exit\nexport LC_ALL=C\nwork=$(mktemp -d /run/kiln-disk.XXXXXX) || exit\n", root) +
         "trap 'rm -rf \"$work\"' EXIT\nout=$work/out\nmkdir \"$out\"\n: >\"$out/texts\"\n" + kFiles + kLoose + kTexts +
         "(" + trial::secrets_question(root) + ") >\"$out/secrets\"\n" +
         "tar -C \"$out\" -czf - files sha256 md5 sha1 texts licences secrets\n";
}

Disk read_disk(std::string_view answer) {
  auto parts = unpack(answer);
  for (const char* name : {"files", "sha256", "md5", "sha1", "texts", "licences", "secrets"}) {
    if (!parts.contains(name))
      throw Error(ErrorCode::corrupt, fmt::format("of what a disk holds the part '{}' is missing", name));
  }
  Disk disk;
  disk.secrets = parts["secrets"];
  disk.contents.files = read_files(parts["files"]);
  const auto sha256 = read_sums(parts["sha256"], 64), md5 = read_sums(parts["md5"], 32),
             sha1 = read_sums(parts["sha1"], 40);
  for (auto& [path, file] : disk.contents.files) {
    const auto sum = sha256.find(path), loose = md5.find(path), second = sha1.find(path);
    if (file.type != 'f' || sum == sha256.end()) continue;
    file.sha256 = sum->second;
    if (loose == md5.end() || second == sha1.end()) continue;
    file.md5 = loose->second;
    file.sha1 = second->second;
  }
  disk.contents.texts = read_texts(parts["texts"]);
  for (const auto& [path, text] : read_texts(parts["licences"])) disk.contents.texts[path] = proof::read_licence(text);
  return disk;
}

}  // namespace kiln::builder
