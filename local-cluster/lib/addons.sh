# shellcheck shell=bash
# shellcheck disable=SC2154 # common.sh and up set the variables
# What runs in the cluster: CoreDNS, metrics-server and kube-network-policies, and Istio on request.

# manifest FILE NAME=VALUE...: prints a manifest with each @NAME@ replaced.
manifest() {
  local text pair
  text=$(<"$here/manifests/$1")
  for pair in "${@:2}"; do text=${text//"@${pair%%=*}@"/"${pair#*=}"}; done
  printf '%s\n' "$text"
}

# rolled_out NAMESPACE KIND/NAME
rolled_out() { kubectl --namespace "$1" rollout status "$2" --timeout=120s >/dev/null && say "${2#*/} is ready"; }

install_addons() {
  local coredns metrics_server policies
  coredns=$(cd "$here/go" && module_version github.com/coredns/coredns)
  metrics_server=$(cd "$here/go" && module_version sigs.k8s.io/metrics-server)
  policies=$(cd "$here/go" && module_version sigs.k8s.io/kube-network-policies)
  manifest coredns.yaml VERSION="$coredns" DNS_IP="$dns_ip" | kubectl apply --filename - >/dev/null
  manifest metrics-server.yaml VERSION="$metrics_server" | kubectl apply --filename - >/dev/null
  manifest kube-network-policies.yaml VERSION="$policies" QUEUE="$policy_queue" | kubectl apply --filename - >/dev/null
  wait_until 60 "node is registered" kubectl get node "$node"
  kubectl wait --for=condition=Ready "node/$node" --timeout=90s >/dev/null
  say "node is Ready"
  wait_until 60 "kube-network-policies listens" listens_to_queue
  enforce_policies
  rolled_out kube-system deployment/coredns
  rolled_out kube-system deployment/metrics-server
  wait_until 90 "metrics are available" kubectl top nodes
}

# Whether kube-network-policies is at its queue: the first column is the queue's number.
listens_to_queue() { awk -v queue="$policy_queue" '$1 == queue { found = 1 } END { exit !found }' /proc/net/netfilter/nfnetlink_queue; }

# helm_install RELEASE CHART [ARGUMENT]...: unless the release is installed.
helm_install() {
  local release=$1 chart=$istio_files/charts/$2
  shift 2
  helm --namespace istio-system status "$release" >/dev/null 2>&1 && return
  say "install $release"
  helm --namespace istio-system install "$release" "$chart" --create-namespace "$@" >>"$state/log/helm" 2>&1 ||
    { tail -n 20 "$state/log/helm" >&2; return 1; }
}

install_istio() {
  local tag
  tag=$(<"$istio_files/VERSION")
  kubectl apply --server-side --filename "$istio_files/gateway-api" >/dev/null
  helm_install istio-base base
  # The agent of the CNI plug-in, before the first pod with a sidecar.
  helm_install istio-cni istio-cni --values "$here/manifests/istio-cni.yaml" \
    --set cniBinDir="$cni_programs" --set cniConfDir="$cni_configuration" --set global.hub=localhost --set global.tag="$tag"
  helm_install istiod istio-control/istio-discovery --values "$here/manifests/istiod.yaml" \
    --set global.hub=localhost --set global.tag="$tag"
  rolled_out istio-system daemonset/istio-cni-node
  rolled_out istio-system deployment/istiod
  helm_install istio-ingressgateway gateway --values "$here/manifests/gateway.yaml"
  rolled_out istio-system deployment/istio-ingressgateway
}
