# shellcheck shell=bash
# shellcheck disable=SC2154 # common.sh and up set the variables
# The node's own address, and what the host's kernel must allow. `remove_network` undoes it.

# Kernel settings that the kubelet, kube-proxy and `up` change.
sysctls=(net.ipv4.ip_forward net.ipv4.conf.all.route_localnet net.bridge.bridge-nf-call-iptables
  vm.overcommit_memory vm.panic_on_oom kernel.panic kernel.panic_on_oops fs.inotify.max_user_instances)

# The chains' names begin as those of kube-proxy do, so that iptables_chains.py removes the chains with them.
forward_chain=KUBE-LOCAL-CLUSTER
policy_chain=KUBE-LOCAL-POLICIES

save_sysctls() { [ -f "$state/sysctls" ] || sysctl "${sysctls[@]}" 2>/dev/null >"$state/sysctls" || true; }

create_network() {
  # A bridge without ports, because not every kernel has the dummy device.
  if ! ip link show "$node_bridge" >/dev/null 2>&1; then
    ip link add "$node_bridge" type bridge
    ip addr add "$node_ip/32" dev "$node_bridge"
    ip link set "$node_bridge" up
  fi
  # A packet for a service address that no iptables rule translates stays on the node.
  ip route replace "$service_cidr" dev "$node_bridge" src "$node_ip"
  modprobe -qa br_netfilter overlay 2>/dev/null || true
  sysctl -qw net.ipv4.ip_forward=1
  sysctl -qw net.bridge.bridge-nf-call-iptables=1 2>/dev/null || true
  [ "$(sysctl -n fs.inotify.max_user_instances)" -ge 512 ] || sysctl -qw fs.inotify.max_user_instances=512
  # Docker sets the policy of the chain FORWARD to DROP, which would also drop traffic between pods.
  iptables --wait --new-chain "$forward_chain" 2>/dev/null || return 0
  iptables --wait --append "$forward_chain" --source "$pod_cidr" --jump ACCEPT
  iptables --wait --append "$forward_chain" --destination "$pod_cidr" --jump ACCEPT
  iptables --wait --insert FORWARD --jump "$forward_chain"
}

# Sends the first packet of each connection from and to a pod to kube-network-policies, which accepts or drops the packet. Packets are
# dropped while nothing listens to the queue.
#
# kube-network-policies makes such rules itself, with nftables, if the kernel has the statement `queue` (CONFIG_NFT_QUEUE). Where the kernel
# lacks the statement, the program logs an error and goes on. With both sets of rules, both ask, and the verdicts are the same.
enforce_policies() {
  local mangle=(iptables --wait --table mangle)
  "${mangle[@]}" --new-chain "$policy_chain" 2>/dev/null || return 0
  "${mangle[@]}" --append "$policy_chain" --match conntrack --ctstate ESTABLISHED,RELATED --jump RETURN
  "${mangle[@]}" --append "$policy_chain" --source "$pod_cidr" --jump NFQUEUE --queue-num "$policy_queue"
  "${mangle[@]}" --append "$policy_chain" --destination "$pod_cidr" --jump NFQUEUE --queue-num "$policy_queue"
  # After the translation of service addresses. Not for processes of the node: the kubelet's probes, the API server's proxy, node ports.
  "${mangle[@]}" --append POSTROUTING --match owner ! --uid-owner 0 --jump "$policy_chain"
  # What a pod sends to the node itself, such as requests to the API server. The program's own rules do not have this one.
  "${mangle[@]}" --append INPUT --source "$pod_cidr" --jump "$policy_chain"
}

remove_network() {
  local family link name value
  for family in iptables ip6tables; do
    "$family-save" 2>/dev/null | python3 -B "$here/iptables_chains.py" | "$family-restore" --noflush 2>/dev/null
  done
  for link in "$node_bridge" "$pod_bridge"; do ip link del "$link" 2>/dev/null; done
  while IFS='= ' read -r name value; do sysctl -qw "$name=$value" 2>/dev/null; done <"$state/sysctls"
}
