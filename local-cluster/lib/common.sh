# shellcheck shell=bash
# shellcheck disable=SC2034 # the scripts that source this file use the variables
# Where the cluster's files are, and its names and addresses. Sourced by build, up and down.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${CLUSTER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/cluster} # programs and images; `down` keeps it
state=${CLUSTER_STATE:-/var/lib/cluster}                        # everything else; `down` removes it
programs=$cache/bin
containerd2=$cache/containerd
istio_files=$cache/istio
kyverno_files=$cache/kyverno # for the test of signatures, which installs Kyverno

node=node
node_bridge=k8s-node
node_ip=10.245.0.1
pod_bridge=k8s-pods
pod_cidr=10.244.0.0/24
service_cidr=10.96.0.0/16
api_ip=10.96.0.1
dns_ip=10.96.0.10
policy_queue=98 # the netfilter queue of kube-network-policies
etcd_url=http://127.0.0.1:12379
api_url=https://$node_ip:6443
containerd_socket=$state/containerd/containerd.sock
registries=$state/containerd/certs.d # which authorities containerd trusts for which registry (its `config_path`)
cni_programs=$state/containerd/cni-programs # the distribution's CNI plug-ins, and those that pods of the cluster install
cni_configuration=$state/containerd/cni
istio_cni_state=/run/istio-cni # of Istio's CNI plug-in: its kubeconfig, sockets and log. The path is fixed in its chart
verifiers=$state/containerd/verifiers/bin # programs that containerd 2 runs before it pulls an image; none without a test of them
admin_kubeconfig=$state/kubeconfig

# Without this, every `ctr` prints that cgroup v1 is deprecated.
export CONTAINERD_SUPPRESS_DEPRECATION_WARNINGS=1

say() { echo "[$(date +%T)] $*" >&2; }
die() { echo "local-cluster: $*" >&2; exit 1; }

# module_version MODULE: the version that go.mod in the current directory pins.
module_version() { awk -v module="$1" '$1 == module && $2 ~ /^v/ { print $2; exit }' go.mod; }

# chosen_containerd: "2" or "debian", as `up` was told; empty when no cluster is up.
chosen_containerd() { cat "$state/etc/containerd" 2>/dev/null || true; }

# containerd_programs CHOICE: the directory of containerd and ctr. The distribution's package is unpacked, not installed: an installed one
# would be on everybody's PATH.
containerd_programs() { if [ "$1" = debian ]; then "$here/../scripts/debian-containerd"; else echo "$containerd2"; fi; }

# Runs ctr on the cluster's containerd, in the namespace of the kubelet.
cluster_ctr() { ctr --address "$containerd_socket" --namespace k8s.io "$@"; }

# write_if_changed FILE: writes what is on standard input, unless the file has that content.
# kube-proxy exits when its configuration file is written, even with the same content.
write_if_changed() {
  cat >"$1.new"
  if cmp -s "$1.new" "$1"; then rm "$1.new"; else mv "$1.new" "$1"; fi
}
