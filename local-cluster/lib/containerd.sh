# shellcheck shell=bash
# shellcheck disable=SC2154 # common.sh and up set the variables
# containerd: its configuration, its start, and the images that the cluster needs.

# configure_cni: the pod network, a bridge with addresses of $pod_cidr.
configure_cni() {
  local file=$cni_configuration/10-cluster.conflist
  # A directory of the cluster's own: Istio's agent installs its plug-in there. containerd 1.6 knows one directory only.
  ln -sf /usr/lib/cni/{bridge,host-local,loopback,portmap} "$cni_programs/"
  # Written once: Istio's agent adds its plug-in to the file.
  [ ! -f "$file" ] || return 0
  cat >"$file" <<END
{"cniVersion": "1.0.0", "name": "cluster", "plugins": [
  {"type": "bridge", "bridge": "$pod_bridge", "isGateway": true, "ipMasq": true, "hairpinMode": true,
   "ipam": {"type": "host-local", "dataDir": "$state/containerd/ipam",
            "ranges": [[{"subnet": "$pod_cidr"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}, "snat": true}]}
END
}

# remember_runtimes: adds what --runtime and --path asked for (the arrays `runtimes` and `paths`) to what `up` was told before.
remember_runtimes() {
  local runtime path
  touch "$state/etc/runtimes" "$state/etc/paths"
  for runtime in "${runtimes[@]}"; do
    sed -i "/^${runtime%%=*}=/d" "$state/etc/runtimes"
    echo "$runtime" >>"$state/etc/runtimes"
  done
  for path in "${paths[@]}"; do
    grep -qxF "$path" "$state/etc/paths" || echo "$path" >>"$state/etc/paths"
  done
}

# containerd_config CHOICE PULL SHIM-PATH: prints config.toml, of version 3 for containerd 2 and of version 2 for Debian's 1.6.
# restrict_oom_score_adj: without CAP_SYS_RESOURCE, root cannot lower a process's OOM score.
containerd_config() {
  local version cri trust cni images name type
  if [ "$1" = 2 ]; then
    version=3 cri='plugins."io.containerd.cri.v1.runtime"' trust='plugins."io.containerd.cri.v1.images"' cni='bin_dirs = ["'$cni_programs'"]'
    images='[plugins."io.containerd.nri.v1.nri"]
  disable = true
[plugins."io.containerd.cri.v1.images"]
  use_local_image_pull = '$([ "$2" = local ] && echo true || echo false)'
[plugins."io.containerd.image-verifier.v1.bindir"]
  bin_dir = "'$verifiers'"
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "localhost/pause:1"
['$cri']'
  else
    version=2 cri='plugins."io.containerd.grpc.v1.cri"' cni='bin_dir = "'$cni_programs'"'
    trust=$cri images="[$cri]"'
  sandbox_image = "localhost/pause:1"'
  fi
  cat <<END
# PATH=$3
version = $version
root = "$state/containerd/root"
state = "$state/containerd/state"
disabled_plugins = ["io.containerd.internal.v1.opt"]
[grpc]
  address = "$containerd_socket"
[debug]
  level = "warn"
$images
  enable_unprivileged_ports = true
  disable_apparmor = true
  restrict_oom_score_adj = true
[$cri.cni]
  $cni
  conf_dir = "$cni_configuration"
[$trust.registry]
  config_path = "$registries"
[$cri.containerd]
  default_runtime_name = "runc"
[$cri.containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[$cri.containerd.runtimes.runc.options]
  SystemdCgroup = false
END
  while IFS="=" read -r name type; do
    printf '[%s.containerd.runtimes.%s]\n  runtime_type = "%s"\n' "$cri" "$name" "$type"
  done <"$state/etc/runtimes"
}

# start_containerd CHOICE PULL: starts it, and restarts it when its configuration has changed. Containers keep running meanwhile.
start_containerd() {
  local config=$state/containerd/config.toml
  configure_cni
  remember_runtimes
  containerd_config "$1" "$2" "$(paste -sd: "$state/etc/paths")" >"$config.new"
  if ! cmp -s "$config.new" "$config"; then
    stop containerd
    mv "$config.new" "$config"
  fi
  run_containerd
}

# run_containerd: starts it with the configuration that it had last, unless it runs.
run_containerd() {
  local shims
  shims=$(paste -sd: "$state/etc/paths")
  start containerd env PATH="${shims:+$shims:}$PATH" containerd --config "$state/containerd/config.toml"
  wait_until 30 "containerd is ready" cluster_ctr version
}

# load_images TAR...: imports each file once. Images without a platform, such as WebAssembly artifacts, need --all-platforms.
load_images() {
  local tar sum
  for tar; do
    sum=$(sha256sum <"$tar" | cut -d' ' -f1)
    [ -f "$state/run/image-$sum" ] || cluster_ctr images import "$tar" >>"$state/log/images" 2>&1 ||
      cluster_ctr images import --all-platforms "$tar" >>"$state/log/images"
    touch "$state/run/image-$sum"
  done
}
