# shellcheck shell=bash
# shellcheck disable=SC2154 # common.sh and up set the variables
# The kubelet and kube-proxy.

start_node() {
  kubelet_config | write_if_changed "$state/etc/kubelet.yaml"
  # The kubelet's own resolv.conf is empty: pods resolve names of the cluster only.
  : >"$state/etc/resolv.conf"
  # Volumes with mount propagation need a shared mount below them.
  mountpoint -q "$state/kubelet" || { mount --bind "$state/kubelet" "$state/kubelet" && mount --make-rshared "$state/kubelet"; }
  start kubelet "$programs/kubelet" --config="$state/etc/kubelet.yaml" --kubeconfig="$state/etc/kubelet.kubeconfig" \
    --root-dir="$state/kubelet" --hostname-override="$node" --node-ip="$node_ip"
  proxy_config | write_if_changed "$state/etc/proxy.yaml"
  start kube-proxy "$programs/kube-proxy" --config="$state/etc/proxy.yaml"
}

kubelet_config() {
  cat <<END
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $node_ip
containerRuntimeEndpoint: unix://$containerd_socket
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
clusterDNS: [$dns_ip]
clusterDomain: cluster.local
resolvConf: $state/etc/resolv.conf
podLogsDir: $state/pod-logs
tlsCertFile: $state/pki/kubelet.crt
tlsPrivateKeyFile: $state/pki/kubelet.key
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: $state/pki/ca.crt}
authorization: {mode: Webhook}
serializeImagePulls: false
syncFrequency: 10s
nodeStatusUpdateFrequency: 5s
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: 100Mi, nodefs.available: 0%, nodefs.inodesFree: 0%, imagefs.available: 0%}
END
}

proxy_config() {
  cat <<END
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {kubeconfig: $state/etc/proxy.kubeconfig}
hostnameOverride: $node
bindAddress: $node_ip
healthzBindAddress: 127.0.0.1:10256
metricsBindAddress: 127.0.0.1:10249
mode: iptables
iptables: {localhostNodePorts: true, minSyncPeriod: 0s}
clusterCIDR: $pod_cidr
nodePortAddresses: [127.0.0.0/8, $node_ip/32]
conntrack: {maxPerCore: 0, min: 0}
END
}
