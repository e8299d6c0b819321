# shellcheck shell=bash
# Remembers which stages passed, by the digest of their inputs: a file NAME-DIGEST for each, in $cache/passed.

passed_file() { echo "${cache:?}/passed/$1-$2"; } # NAME DIGEST

passed_before() { [ -z "${CI_ALL:-}" ] && [ -e "$(passed_file "$1" "$2")" ]; }

forget_passed() { rm -f "$(passed_file "$1" "$2")"; }

# remember_passed NAME DIGEST LOG: unless the log says that something was not run. Records older than 30 days are deleted.
remember_passed() {
  ! grep -q 'NOT RUN' "$3" || return 0
  mkdir -p "$cache/passed"
  find "$cache/passed" -type f -mtime +30 -delete
  date --utc +%FT%TZ >"$(passed_file "$1" "$2")"
}
