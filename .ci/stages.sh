# shellcheck shell=bash
# shellcheck disable=SC2154 # stage.sh sets the logs' directory
# The stages in their order, and what they do not depend on. Sourced by .ci/run.

# Programs and their packages on Debian and Ubuntu: load generator, the caches beside which the host is measured, Redis, the shim's and
# the cluster's needs, and what test images are made of. An entry without a program is a package that must be installed itself.
needs=(curl:curl faketime:faketime g++:g++ :python3-venv valgrind:valgrind wrk:wrk nginx:nginx varnishd:varnish redis-server:redis-server
  prometheus:prometheus :busybox-static runc:runc protoc:protobuf-compiler conntrack:conntrack /usr/lib/cni/bridge:containernetworking-plugins ip:iproute2 ipset:ipset
  iptables:iptables openssl:openssl ps:procps qemu-aarch64:qemu-user aarch64-linux-gnu-gcc:gcc-aarch64-linux-gnu :libc6-dev-arm64-cross)
# A browser for the pages' tests: Chrome where there is one, as on GitHub's runner, because Ubuntu has Chromium as a snap only.
command -v google-chrome >/dev/null || needs+=(chromium:chromium)
packages=("${needs[@]#*:}")

root=$([ "$(id -u)" != 0 ] || echo yes)
clusters=${CLUSTER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/cluster}

install_tools() {
  # For fuzzing only: the pinned toolchain has no sanitizer.
  local nightly
  nightly=$(sed -n 's/^channel = "\(.*\)"$/\1/p' fuzz/rust-toolchain.toml)
  rustup run "$nightly" rustc --version >/dev/null 2>&1 || rustup toolchain install "$nightly" --profile minimal --no-self-update
  if command -v apt-get >/dev/null; then
    scripts/install-packages "${needs[@]}"
  else
    echo "NOT RUN: apt-get, which is Debian's and Ubuntu's; it would install: ${packages[*]}"
  fi
}

# The cluster's programs and Helm 3 take a quarter of an hour the first time. They are built from the start on, with the lowest priority.
start_cluster_build() {
  setsid nice -n 19 bash -c 'local-cluster/build --istio && scripts/cluster helm3' >"$logs/cluster-build.log" 2>&1 </dev/null &
  background=$!
}

# What the stages behind the cluster's compile. The cluster's tests wait for probes and timers most of the time. Under the policy `idle`, a
# compiler gets only the processor time that nothing else wants.
start_late_builds() {
  setsid chrt --idle 0 bash -c 'fuzz/run --build && scripts/test-arm64 --build && scripts/docs mdbook' >"$logs/late-builds.log" 2>&1 </dev/null &
  background=$!
}

await_background() { # NAME: of its log
  local status=0
  wait "$background" || status=$?
  background=
  [ $status = 0 ] || tail -n 40 "$logs/$1.log"
  return $status
}

# What no Rust program, test or example reads. `make test` and `make lint` exclude nothing: links between all documents are checked.
unread="fuzz local-cluster .github"
documents="docs book.toml CHANGELOG.md CONTRIBUTING.md README.md SECURITY.md"

stage tools --always -- install_tools
stage setup --always -- make setup
[ -z "$root" ] || start_cluster_build
stage ci --except "docs k8s charts component host e2e examples runtime-class bench fuzz" -- .ci/test
stage build --except "$unread $documents k8s charts" -- make build
stage test -- make test
stage lint -- make lint
# What the workflows of GitHub call, as far as it needs neither GitHub nor the internet.
stage delivery -- make lint-workflows lint-security test-delivery sbom
# The component's tests, which read documents and manifests, but no other code. The whole is measured on GitHub.
stage coverage --except "$unread host e2e examples runtime-class bench services" -- make coverage COVERAGE="--floor 93 gists"
stage examples --except "$unread $documents k8s charts" -- make test-examples
# A fault that only root can cause is reported as not run where nobody is root.
stage faults --except "$unread k8s charts" -- make faults FAULTS="${root:+--strict}"
stage soak --except "$unread $documents k8s charts" -- make soak SOAK=30s
stage tutorials --except "$unread k8s charts" -- make test-tutorials
stage pages --except "$unread $documents k8s charts" -- make test-pages
stage images --except "$unread $documents k8s charts" -- make test-image
stage monitoring --except "$unread" -- make test-monitoring
if [ -n "$background" ]; then
  stage cluster-programs --always -- await_background cluster-build
  start_late_builds
fi
stage lint-k8s -- make lint-k8s
# The installer's tests give the configurations that it writes to the cluster's containerd, too.
stage installer --except "fuzz .github $documents" --files "$clusters/containerd/containerd" -- make test-installer
if [ -n "$root" ]; then
  stage shim --except "fuzz .github $documents" --files "$clusters/containerd/.containerd" -- make test-shim
  stage cluster --except "fuzz .github $documents" --files "$clusters/bin/.kubernetes $clusters/bin/.tools $clusters/bin/.istio $clusters/bin/.envoy $clusters/bin/.cosign $clusters/bin/.kyverno docs/tutorials/kubernetes.md" -- scripts/cluster test
else
  note shim "      NOT RUN: it needs root"
  if [ -n "${KUBECONFIG:-}" ]; then
    stage cluster --always -- make test-cluster
  else
    note cluster "      NOT RUN: it needs root, or a cluster that KUBECONFIG names"
  fi
fi
# Before anything is measured.
[ -z "$background" ] || stage late-builds --always -- await_background late-builds
stage docs -- make docs-build
# Compiles the host a second time. So it does not depend on what other tests read.
stage arm64 --except "$unread $documents k8s examples bench/results e2e/cluster e2e/faults e2e/golden e2e/pages e2e/tests/gists services" -- make test-arm64
stage instructions --except "$unread $documents k8s charts" -- make instructions INSTRUCTIONS=--check
stage bench --except "$unread $documents k8s charts" --files target/dist/wasi-http-host.guided -- make bench BENCH=--quick
# Last, because it compiles everything anew with a nightly Rust and a sanitizer.
stage fuzz --except "$documents k8s charts local-cluster .github" -- env FUZZ_RUNS=20000 make fuzz
