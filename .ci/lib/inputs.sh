# shellcheck shell=bash
# Prints what a stage's result depends on: files, tools, environment and machine. The digest of it tells whether a stage passed before
# with the same inputs. Run in the root of the checkout.

# tree_inputs [EXCEPT-PATH...]: one line for each file as it is on disk, with its mode and the digest of its content: files that are
# committed, changed or not yet known to git, less what .gitignore names and what lies at or below the excluded paths. It fails
# where there is no git checkout.
tree_inputs() (
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
  objects=$(git rev-parse --git-path objects) || exit
  index=$(git rev-parse --git-path index)
  # A copy of the index, and a place of its own for new objects: the checkout stays as it is. `-p` keeps the index's time, by which git
  # knows which files may have changed since.
  mkdir "$scratch/objects"
  [ ! -e "$index" ] || cp -p "$index" "$scratch/index"
  GIT_ALTERNATE_OBJECT_DIRECTORIES=$(realpath "$objects")
  export GIT_ALTERNATE_OBJECT_DIRECTORIES GIT_OBJECT_DIRECTORY=$scratch/objects GIT_INDEX_FILE=$scratch/index
  git add --all . || exit
  git ls-files --stage -- . "${@/#/:(exclude)}"
)

# file_inputs FILE...: the digests of files that git does not know; a missing file is an input too.
file_inputs() {
  local file
  for file; do
    if [ -f "$file" ]; then sha256sum "$file"; else echo "missing $file"; fi
  done
}

# Variables that our scripts, or the tools that they run, read.
readonly input_variables='^(HOME|PATH|LANG|LC_|TZ|PROFILE|CARGO|CHROMIUM|RUST|CC|CXX|AR|LD|CFLAGS|CXXFLAGS|CPPFLAGS|LDFLAGS|GO|CGO_|NODE_|NPM_|npm_|PYTHON|PIP_|PROTOC|CLUSTER_|CONTAINERD|GATEWAY_|IMAGE_|INSTALLER_|KUBECONFIG|SHIM_|GISTS_|WASI_HTTP_|GITHUB_API_URL|FUZZ_|SOAK|FAULTS|PGO_|BENCH|OTEL_|SOURCE_DATE_EPOCH|XDG_CACHE_HOME|[a-zA-Z_]*_proxy|[A-Z_]*_PROXY)'

# environment_inputs: who runs on which machine, and the variables above.
environment_inputs() {
  id -u
  uname -srm
  nproc
  cat /etc/machine-id /etc/os-release 2>/dev/null || true
  env | grep -E "$input_variables" | sort
}

# tool_inputs [PACKAGE...]: the versions of compilers and tools, and of the packages. A missing tool is an input too.
tool_inputs() {
  local command
  for command in 'bash --version' 'cargo --version' 'cc --version' 'curl --version' 'git --version' \
    'go version' 'make --version' 'node --version' 'npm --version' 'python3 --version' 'rustc -vV'; do
    # shellcheck disable=SC2086 # the words of a command
    echo "$command: $($command 2>/dev/null || echo missing)"
  done
  [ $# = 0 ] || dpkg-query --show "$@" 2>/dev/null || true
}
