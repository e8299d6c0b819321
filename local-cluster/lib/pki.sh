# shellcheck shell=bash
# shellcheck disable=SC2154 # common.sh and up set the variables
# Keys, certificates and kubeconfig files under $state/pki and $state/etc. What exists stays.

create_key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null; }

create_authority() { # FILE COMMON-NAME
  [ -f "$1.crt" ] && return
  create_key "$1.key"
  openssl req -x509 -new -key "$1.key" -sha256 -days 3650 -subj "/CN=$2" -out "$1.crt" \
    -addext keyUsage=critical,digitalSignature,keyCertSign
}

create_certificate() { # FILE AUTHORITY SUBJECT [SUBJECT-ALTERNATIVE-NAMES]
  [ -f "$1.crt" ] && return
  create_key "$1.key"
  openssl req -new -key "$1.key" -subj "$3" | openssl x509 -req -sha256 -days 3650 \
    -CA "$2.crt" -CAkey "$2.key" -set_serial "0x$(openssl rand -hex 12)" -out "$1.crt" 2>/dev/null \
    -extfile <(
      echo "keyUsage=critical,digitalSignature"
      echo "extendedKeyUsage=clientAuth,serverAuth"
      [ -z "${4:-}" ] || echo "subjectAltName=$4"
    )
}

create_kubeconfig() { # FILE CERTIFICATE
  [ -f "$1" ] && return
  (umask 077 && cat >"$1") <<END
apiVersion: v1
kind: Config
current-context: cluster
clusters:
- name: cluster
  cluster: {server: "$api_url", certificate-authority-data: $(base64 -w0 ca.crt)}
contexts:
- name: cluster
  context: {cluster: cluster, user: user}
users:
- name: user
  user:
    client-certificate-data: $(base64 -w0 "$2.crt")
    client-key-data: $(base64 -w0 "$2.key")
END
}

# The certificates that https://kubernetes.io/docs/setup/best-practices/certificates lists, less etcd's: etcd listens on
# loopback without TLS.
create_pki() (
  names=localhost,kubernetes,kubernetes.default,kubernetes.default.svc,kubernetes.default.svc.cluster.local
  cd "$state/pki" || exit
  create_authority ca cluster
  create_authority front cluster-front-proxy
  create_certificate api ca /CN=kube-apiserver "IP:127.0.0.1,IP:$node_ip,IP:$api_ip,DNS:${names//,/,DNS:}"
  create_certificate front-client front /CN=front-proxy-client
  create_certificate api-kubelet ca /O=system:masters/CN=kube-apiserver-kubelet-client
  create_certificate kubelet ca "/O=system:nodes/CN=system:node:$node" "IP:$node_ip,DNS:$node"
  create_certificate proxy ca /CN=system:kube-proxy
  create_certificate controllers ca /CN=system:kube-controller-manager
  create_certificate scheduler ca /CN=system:kube-scheduler
  create_certificate admin ca /O=system:masters/CN=admin
  [ -f accounts.key ] || { create_key accounts.key && openssl pkey -in accounts.key -pubout -out accounts.pub; }
  for who in kubelet proxy controllers scheduler; do create_kubeconfig "$state/etc/$who.kubeconfig" "$who"; done
  create_kubeconfig "$admin_kubeconfig" admin
)
