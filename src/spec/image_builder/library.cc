// The functions of bash that scripts begin with: one for each action, and the running of a step.
//
// An action prints what it does, puts what it gives to others into `result`, and returns 0 or the status of what
// failed. Only programs of Debian's smallest system are used, but by WebDownload.
#include "spec/image_builder/script.h"

namespace kiln::spec::image_builder {
namespace {

constexpr std::string_view kLibrary = R"bash(
set -u
shopt -s nullglob dotglob
umask 022
declare -A out=() result=()
failed=0 step_timeout=-1 loop_index= loop_value=
files=${KILN_FILES:-/run/kiln/files}
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT

complain() { printf 'kiln: %s\n' "$*" >&2; }

# Runs a program within the step's time. Its output is shown when it ends: a program that it leaves behind would keep a
# pipe open for ever.
limited() {
  local status
  if [ "$step_timeout" -gt 0 ]; then
    timeout --kill-after=5 "$step_timeout" "$@" >"$scratch/stdout" </dev/null
  else
    "$@" >"$scratch/stdout" </dev/null
  fi
  status=$?
  cat "$scratch/stdout"
  result[stdout]=$(tr -d '\0' <"$scratch/stdout")
  [ "$status" != 124 ] || complain "it ran longer than $step_timeout s"
  if [ "$status" = 194 ]; then
    complain "it asks for a reboot (exit status 194), and nothing is booted while an image is baked offline"
  fi
  return "$status"
}

ExecuteBash() {
  printf '%s\n' "$1" >"$scratch/input.sh"
  limited bash "$scratch/input.sh"
}
ExecuteBinary() { limited "$@"; }
ExecuteDocument() { limited bash "$files/$1"; }

# name; function of one round; attempts; timeout; Abort, Continue or Ignore
step() {
  local name=$1 round=$2 attempts=$3 on_failure=$5 try status=1 key
  step_timeout=$4
  printf '== %s%s\n' "$name" "${loop_value:+ ($loop_value)}"
  for ((try = 1; try <= attempts; try++)); do
    result=()
    "$round"
    status=$?
    [ "$status" != 0 ] || break
    complain "$name: attempt $try of $attempts ended with status $status"
  done
  for key in "${!result[@]}"; do
    if [ -z "$loop_index" ]; then
      out["$name.outputs.$key"]=${result[$key]}
    else
      out["$name:$loop_index.outputs.$key"]=${result[$key]}
      out["$name.outputs.$key"]=${out["$name.outputs.$key"]-}${out["$name.outputs.$key"]+$'\n'}${result[$key]}
    fi
  done
  [ "$status" != 0 ] || return 0
  case $on_failure in
    Abort) complain "$name failed; the phase ends here (onFailure: Abort)"; exit 1 ;;
    Continue) complain "$name failed; the phase goes on, and fails at its end (onFailure: Continue)"; failed=1 ;;
    Ignore) complain "$name failed; that is ignored (onFailure: Ignore)" ;;
  esac
}
keep_outputs() { # file outputs..; as assignments that another phase reads
  local file=$1 key
  shift
  mkdir -p "${file%/*}" || exit
  for key; do printf 'out[%q]=%q\n' "$key" "${out[$key]-}"; done >"$file" || exit
}
skip() { printf '== %s: skipped, by its condition\n' "$1"; }

encoded() { # encoding; from stdin
  case ${1,,} in
    ''|utf8|utf-8) cat ;;
    utf16|utf-16|utf16-le|utf-16-le) iconv -f UTF-8 -t UTF-16LE ;;
    utf16-be|utf-16-be) iconv -f UTF-8 -t UTF-16BE ;;
    utf32|utf-32|utf32-le|utf-32-le) iconv -f UTF-8 -t UTF-32LE ;;
    utf32-be|utf-32-be) iconv -f UTF-8 -t UTF-32BE ;;
    *) complain "the encoding $1 is not known"; return 1 ;;
  esac
}
attributes() { # path owner group permissions
  if [ -n "$2" ]; then chown -h "$2" "$1" || return; fi
  if [ -n "$3" ]; then chgrp -h "$3" "$1" || return; fi
  if [ -n "$4" ]; then chmod "$4" "$1" || return; fi
}
parent_of() { case $1 in */*) mkdir -p "${1%/*}/" ;; esac; }
not_there() { # path overwrite
  if [ "$2" = false ] && { [ -e "$1" ] || [ -L "$1" ]; }; then
    complain "$1 is there already, and 'overwrite' is false"
    return 1
  fi
}
CreateFile() { # path content encoding owner group permissions overwrite
  not_there "$1" "$7" && parent_of "$1" && printf '%s' "$2" | encoded "$3" >"$1" && attributes "$1" "$4" "$5" "$6" &&
    printf 'created %s\n' "$1"
}
AppendFile() { # path content encoding
  if [ ! -f "$1" ]; then complain "there is no file $1 to append to"; return 1; fi
  printf '%s' "$2" | encoded "$3" >>"$1" && printf 'appended to %s\n' "$1"
}
CreateFolder() { # path owner group permissions overwrite
  not_there "${1%/}" "$5" && mkdir -p "$1" && attributes "${1%/}" "$2" "$3" "$4" && printf 'created %s\n' "$1"
}
CreateSymlink() { # path target force
  if [ ! -e "$2" ]; then complain "there is no $2 to link to"; return 1; fi
  if [ -e "$1" ] && [ ! -L "$1" ]; then complain "$1 is there already, and is no link"; return 1; fi
  if [ -L "$1" ] && [ "$3" != true ]; then complain "$1 is there already, and 'force' is not true"; return 1; fi
  parent_of "$1" && ln -sfn "$2" "$1" && printf '%s is a link to %s\n' "$1" "$2"
}
# The '*' of a path's last part; nothing else in it is a pattern.
matching() {
  found=()
  local name=${1##*/} folder= one
  case $1 in */*) folder=${1%/*}/ ;; esac
  if [[ $name != *'*'* ]]; then found=("$1"); return; fi
  for one in "$folder"*; do
    if [[ ${one##*/} == $(printf '%s' "$name" | sed 's/[][?\\]/\\&/g') ]]; then found+=("$one"); fi
  done
}
# Copies or moves; file or folder; source destination overwrite
transfer() {
  local verb=$1 kind=$2 source=$3 destination=$4 overwrite=$5 one target
  matching "${source%/}"
  if [ ${#found[@]} = 0 ]; then complain "nothing matches $source"; return 1; fi
  for one in "${found[@]}"; do
    if [ "$kind" = file ] && [ ! -f "$one" ]; then
      case $source in *'*'*) continue ;; esac
      complain "there is no file $one"; return 1
    fi
    if [ "$kind" = folder ] && [ ! -d "$one" ]; then
      case $source in *'*'*) continue ;; esac
      complain "there is no folder $one"; return 1
    fi
    target=$destination
    case $destination in */) target=$destination${one##*/} ;; esac
    not_there "$target" "$overwrite" && parent_of "$target" || return
    if [ "$kind" = folder ]; then
      if [ "$verb" = move ]; then rm -rf "$target" && mv -T "$one" "$target" || return
      else mkdir -p "$target" && cp -a "$one/." "$target/" || return; fi
    elif [ "$verb" = move ]; then mv -fT "$one" "$target" || return
    else cp -fT --preserve=mode,timestamps "$one" "$target" || return; fi
    printf '%s: %s to %s\n' "$verb" "$one" "$target"
  done
}
CopyFile() { transfer copy file "$@"; }
MoveFile() { transfer move file "$@"; }
CopyFolder() { transfer copy folder "$@"; }
MoveFolder() { transfer move folder "$@"; }
DeleteFile() { # path
  local one
  matching "$1"
  for one in "${found[@]}"; do
    if [ -d "$one" ] && [ ! -L "$one" ]; then
      case $1 in *'*'*) continue ;; esac
      complain "$one is a folder"; return 1
    fi
    rm -- "$one" || return
    printf 'deleted %s\n' "$one"
  done
}
DeleteFolder() { # path force
  if [ "$2" = true ]; then
    if [ ! -d "$1" ]; then complain "there is no folder $1"; return 1; fi
    rm -rf -- "${1%/}"
  else rmdir -- "$1"; fi && printf 'deleted %s\n' "$1"
}
ListFiles() { # path fileNamePattern recursive
  local depth=(-maxdepth 1)
  [ "$3" != true ] || depth=()
  if [ ! -d "$1" ]; then complain "there is no folder $1"; return 1; fi
  find "${1%/}/" "${depth[@]}" -type f -name "${2:-*}" | LC_ALL=C sort | tr -s / >"$scratch/list" || return
  cat "$scratch/list"
  result[files]=${result[files]-}${result[files]+,}$(paste -sd, "$scratch/list")
}
ReadFile() { # path encoding
  if [ ! -f "$1" ]; then complain "there is no file $1"; return 1; fi
  case ${2,,} in
    ''|utf8|utf-8) cat "$1" >"$scratch/content" ;;
    *)
      local from
      from=$(printf '%s' "${2^^}" | sed 's/^UTF\([0-9]\)/UTF-\1/; s/-\([LB]E\)$/\1/')
      iconv -f "$from" -t UTF-8 "$1" >"$scratch/content"
      ;;
  esac || return
  result[content]=$(tr -d '\0' <"$scratch/content")
  printf '%s\n' "${result[content]}"
}
SetFileEncoding() { # path encoding
  encoded "$2" <"$1" >"$scratch/encoded" && cat "$scratch/encoded" >"$1"
}
all_below() { # recursive path command...
  local flag=()
  [ "$1" != true ] || flag=(-R)
  "$3" "${flag[@]}" "$4" -- "$2"
}
SetFileOwner() { if [ -f "$1" ]; then attributes "$1" "$2" "$3" ''; else complain "there is no file $1"; return 1; fi; }
SetFilePermissions() { if [ -f "$1" ]; then chmod "$2" "$1"; else complain "there is no file $1"; return 1; fi; }
SetFolderOwner() { # path owner group recursive
  if [ ! -d "$1" ]; then complain "there is no folder $1"; return 1; fi
  all_below "$4" "$1" chown "$2" && { [ -z "$3" ] || all_below "$4" "$1" chgrp "$3"; }
}
SetFolderPermissions() { # path permissions recursive
  if [ ! -d "$1" ]; then complain "there is no folder $1"; return 1; fi
  all_below "$3" "$1" chmod "$2"
}
checksum_is() { # file algorithm hash
  local sum
  sum=$("${2,,}sum" <"$1") || return
  [ "${sum%% *}" = "${3,,}" ]
}
fetch() { # url file ignoreCertificateErrors
  local flag=()
  if command -v curl >/dev/null; then
    [ "$3" != true ] || flag=(--insecure)
    limited curl -fsSL --retry 4 "${flag[@]}" -o "$2" -- "$1"
  elif command -v wget >/dev/null; then
    [ "$3" != true ] || flag=(--no-check-certificate)
    limited wget -q --tries=5 "${flag[@]}" -O "$2" -- "$1"
  else
    complain "WebDownload needs curl or wget in the image; install one of them in a step before"
    return 1
  fi
}
WebDownload() { # source destination overwrite checksum algorithm ignoreCertificateErrors
  local target=$2 name=${1%%[?#]*}
  case $2 in */) target=$2${name##*/} ;; esac
  not_there "$target" "$3" && parent_of "$target" || return
  if [ -n "$4" ] && [ -n "$5" ] && [ -f "$target" ] && checksum_is "$target" "$5" "$4"; then
    printf '%s is there already\n' "$target"
  else
    fetch "$1" "$scratch/download" "$6" || return
    if [ -n "$4" ] && [ -n "$5" ] && ! checksum_is "$scratch/download" "$5" "$4"; then
      complain "what $1 gives has another $5 checksum than $4"
      return 1
    fi
    cat "$scratch/download" >"$target" || return
    printf 'downloaded %s\n' "$target"
  fi
  result[destination]=${result[destination]-}${result[destination]+$'\n'}$target
}
UpdateOS() { # include exclude, each a list in lines
  local include=() exclude=() status
  [ -z "$1" ] || mapfile -t include <<<"$1"
  [ -z "$2" ] || mapfile -t exclude <<<"$2"
  export DEBIAN_FRONTEND=noninteractive
  limited apt-get -q -o APT::Update::Error-Mode=any update || return
  [ ${#exclude[@]} = 0 ] || apt-mark -q hold -- "${exclude[@]}" || return
  if [ ${#include[@]} = 0 ]; then limited apt-get -q -y -o Dpkg::Options::=--force-confold upgrade
  else limited apt-get -q -y -o Dpkg::Options::=--force-confold --only-upgrade install -- "${include[@]}"; fi
  status=$?
  [ ${#exclude[@]} = 0 ] || apt-mark -q unhold -- "${exclude[@]}" || return
  return $status
}

# Conditions: 0 is true.
stringIsEmpty() { [ -z "$1" ]; }
stringIsWhitespace() { [ -n "$1" ] && [ -z "${1//[[:space:]]/}" ]; }
stringEquals() { [ "$1" = "$2" ]; }
stringLessThan() { local LC_ALL=C; [[ $1 < $2 ]]; }
stringLessThanEquals() { local LC_ALL=C; [[ $1 < $2 || $1 == "$2" ]]; }
stringGreaterThan() { local LC_ALL=C; [[ $1 > $2 ]]; }
stringGreaterThanEquals() { local LC_ALL=C; [[ $1 > $2 || $1 == "$2" ]]; }
patternMatches() { printf '%s' "$2" | grep -qzP -e "$1"; }
compare() { # first operator second
  local number='^[-+]?[0-9]+([.][0-9]+)?$'
  [[ $1 =~ $number && $3 =~ $number ]] && awk -v a="$1" -v b="$3" "BEGIN { exit !(a + 0 $2 b + 0) }"
}
numberEquals() { compare "$1" == "$2"; }
numberLessThan() { compare "$1" '<' "$2"; }
numberLessThanEquals() { compare "$1" '<=' "$2"; }
numberGreaterThan() { compare "$1" '>' "$2"; }
numberGreaterThanEquals() { compare "$1" '>=' "$2"; }
fileExists() { [ -f "$1" ]; }
folderExists() { [ -d "$1" ]; }
binaryExists() { command -v -- "$1" >/dev/null; }
fileMD5Equals() { checksum_is "$2" md5 "$1"; }
fileSHA1Equals() { checksum_is "$2" sha1 "$1"; }
fileSHA256Equals() { checksum_is "$2" sha256 "$1"; }
fileSHA512Equals() { checksum_is "$2" sha512 "$1"; }
)bash";

}  // namespace

std::string_view script_library() { return kLibrary; }

}  // namespace kiln::spec::image_builder
