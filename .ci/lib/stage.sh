# shellcheck shell=bash
# Runs stages one after the other, keeps their output in target/ci/NAME.log, and prints a summary when the shell exits. Needs inputs.sh,
# passed.sh, and the array `packages`: the packages whose versions every stage depends on.

logs=target/ci
mkdir -p "$logs"
rm -f "$logs"/*.log
# `current` is the stage that runs, `background` the id of a process group to end with this shell.
current='' background='' common='' summary=''
begin=$SECONDS stage_begin=$SECONDS
exec 3>&1

# stage NAME [--except PATHS] [--files PATHS] [--always] -- COMMAND...
#
# Runs the command, unless it passed before with the same inputs. A failure ends the shell. PATHS is a list with spaces between. The
# stage depends on every file of the repository, less those at or below `--except`: so a new folder is an input of every stage until
# somebody excludes it. `--files` are files that git does not know. A stage with `--always` is run each time, because it is quick when
# there is nothing to do, and what it makes lies outside of the repository.
stage() {
  local except='' files='' always='' tree=''
  current=$1
  shift
  while [ "$1" != -- ]; do
    case $1 in
    --except) except=$2; shift ;;
    --files) files=$2; shift ;;
    --always) always=yes ;;
    *) echo "stage $current: unknown option $1" >&2; return 2 ;;
    esac
    shift
  done
  shift
  if [ -z "$always" ] && tree=$(tree_digest "$except"); then
    if passed_before "$current" "$(digest "$tree" "$files")"; then
      echo "=== $current: passed before with the same inputs"
      note "$current" '      – passed before with the same inputs'
      current=
      return
    fi
    forget_passed "$current" "$(digest "$tree" "$files")"
  fi
  run_stage "$@"
  # A change while the stage ran may not be what was tested. The stage may have written its `--files`, so they are read again.
  if [ -n "$tree" ] && [ "$tree" = "$(tree_digest "$except")" ]; then
    remember_passed "$current" "$(digest "$tree" "$files")" "$logs/$current.log"
  fi
  current=
}

run_stage() { # COMMAND...
  stage_begin=$SECONDS
  echo "=== $current"
  exec > >(tee "$logs/$current.log" >&3) 2>&1
  copying=$!
  # By itself, not in a condition: there, bash would ignore a failure in the middle of a function.
  "$@"
  flush_output
  note "$current" "$(printf '%5d s' $((SECONDS - stage_begin)))"
  echo "=== $current: $((SECONDS - stage_begin)) s"
}

# Waits until `tee` has printed everything: two seconds at most, as a server that the stage left behind may hold the pipe open.
flush_output() {
  exec 1>&3 2>&3
  for _ in {1..20}; do
    kill -0 "$copying" 2>/dev/null || break
    sleep 0.1
  done
}

# tree_digest EXCEPT-PATHS: fails outside of a git checkout; then nothing is known to have passed.
tree_digest() {
  local lines
  # shellcheck disable=SC2086 # a list of paths
  lines=$(tree_inputs $1) && sha256sum <<<"$lines"
}

# digest TREE-DIGEST FILES: the digest of all inputs. What all stages share is read once, after the first stages installed the tools.
digest() {
  # shellcheck disable=SC2154 # set by whoever sources this file
  [ -n "$common" ] || common=$(environment_inputs; tool_inputs "${packages[@]}")
  # shellcheck disable=SC2086 # a list of files
  { echo "$common $1"; file_inputs $2; } | sha256sum | cut -d' ' -f1
}

note() { summary+=$(printf '%-18s %s' "$1" "$2")$'\n'; } # NAME TEXT

finish() {
  local status=$?
  set +e
  [ -z "$background" ] || kill -- "-$background" 2>/dev/null
  if [ -n "$current" ]; then
    flush_output
    note "$current" "$(printf '%5d s FAILED' $((SECONDS - stage_begin)))"
  fi
  printf '\nstages:\n%s%-18s %5d s\n' "$summary" total $((SECONDS - begin))
  grep -Es --with-filename 'NOT (RUN|MEASURED)' "$logs"/*.log | sed -E "s,^$logs/(.*)\.log:,\1: ,; 1i\\\\nnot run or measured:"
  [ -z "$current" ] || printf '\n=== %s: FAILED; all of its output is in %s\n' "$current" "$logs/$current.log"
  exit "$status"
}
trap finish EXIT
