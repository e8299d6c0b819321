# shellcheck shell=bash
# shellcheck disable=SC2154 # common.sh and up set the variables
# etcd, the API server, the controller manager and the scheduler.

start_control_plane() {
  start etcd "$programs/etcd" --name="$node" --data-dir="$state/etcd" --unsafe-no-fsync --log-level=warn \
    --listen-client-urls="$etcd_url" --advertise-client-urls="$etcd_url" \
    --listen-peer-urls=http://127.0.0.1:12380 --initial-advertise-peer-urls=http://127.0.0.1:12380 \
    --initial-cluster="$node=http://127.0.0.1:12380"
  start_api_server
  wait_until 90 "API server is ready" kubectl get --raw /readyz

  # The autoscaler's periods are shorter than the defaults, so that tests need not wait for minutes.
  start kube-controller-manager "$programs/kube-controller-manager" --kubeconfig="$state/etc/controllers.kubeconfig" \
    --authentication-kubeconfig="$state/etc/controllers.kubeconfig" --authorization-kubeconfig="$state/etc/controllers.kubeconfig" \
    --bind-address=127.0.0.1 --leader-elect=false --use-service-account-credentials \
    --root-ca-file="$state/pki/ca.crt" --service-account-private-key-file="$state/pki/accounts.key" \
    --cluster-signing-cert-file="$state/pki/ca.crt" --cluster-signing-key-file="$state/pki/ca.key" \
    --horizontal-pod-autoscaler-sync-period=5s --horizontal-pod-autoscaler-initial-readiness-delay=5s \
    --horizontal-pod-autoscaler-cpu-initialization-period=10s \
    --horizontal-pod-autoscaler-downscale-stabilization=15s

  start kube-scheduler "$programs/kube-scheduler" --kubeconfig="$state/etc/scheduler.kubeconfig" \
    --authentication-kubeconfig="$state/etc/scheduler.kubeconfig" --authorization-kubeconfig="$state/etc/scheduler.kubeconfig" \
    --bind-address=127.0.0.1 --leader-elect=false
}

start_api_server() {
  start kube-apiserver "$programs/kube-apiserver" --etcd-servers="$etcd_url" \
    --bind-address="$node_ip" --advertise-address="$node_ip" --secure-port=6443 \
    --tls-cert-file="$state/pki/api.crt" --tls-private-key-file="$state/pki/api.key" \
    --client-ca-file="$state/pki/ca.crt" \
    --kubelet-certificate-authority="$state/pki/ca.crt" \
    --kubelet-client-certificate="$state/pki/api-kubelet.crt" --kubelet-client-key="$state/pki/api-kubelet.key" \
    --kubelet-preferred-address-types=InternalIP \
    --service-cluster-ip-range="$service_cidr" \
    --service-account-issuer=https://kubernetes.default.svc.cluster.local \
    --service-account-key-file="$state/pki/accounts.pub" --service-account-signing-key-file="$state/pki/accounts.key" \
    --requestheader-client-ca-file="$state/pki/front.crt" --requestheader-allowed-names=front-proxy-client \
    --requestheader-extra-headers-prefix=X-Remote-Extra- \
    --requestheader-group-headers=X-Remote-Group --requestheader-username-headers=X-Remote-User \
    --proxy-client-cert-file="$state/pki/front-client.crt" --proxy-client-key-file="$state/pki/front-client.key" \
    --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --allow-privileged=true
}
