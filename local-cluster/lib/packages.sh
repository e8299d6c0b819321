# shellcheck shell=bash
# shellcheck disable=SC2034 # up uses the list
# Installs the Debian or Ubuntu packages that the node needs.

# What must be there, and the package that brings it. A program counts wherever it comes from: on machines with Docker,
# runc belongs to Docker's package, and Debian's package would replace it.
node_needs=(
  openssl:openssl runc:runc conntrack:conntrack ip:iproute2 ipset:ipset iptables:iptables ps:procps python3:python3
  /usr/lib/cni/bridge:containernetworking-plugins /etc/ssl/certs/ca-certificates.crt:ca-certificates
)

# install_packages PROGRAM:PACKAGE...: installs the packages whose program (a name or a path) is missing.
install_packages() {
  local need missing=()
  for need; do
    case $need in
    /*) [ -e "${need%%:*}" ] ;;
    *) command -v "${need%%:*}" >/dev/null ;;
    esac || missing+=("${need#*:}")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  command -v apt-get >/dev/null || die "missing: ${missing[*]}; install them, there is no apt-get here"
  say "install ${missing[*]}"
  apt-get update -qq >/dev/null
  # invoke-rc.d reads RUNLEVEL: at runlevel 1, a package does not start its service.
  RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends "${missing[@]}" >/dev/null
}
