#!/usr/bin/env bash
# Writes the single-file manifests from manifests/base: manifests/lanlord.yaml and k3s/lanlord.yaml.
# They are the base's files one after the other, so that the comments stay. Edit the base, then run this.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
    cat <<'TEXT'
Usage: scripts/render.sh [--check]

Writes manifests/lanlord.yaml and k3s/lanlord.yaml from manifests/base.

  --check   write nothing; exit with 1 if a file is not what would be written
TEXT
}

# The resources in the order of the kustomization: namespace first, workload last.
base() {
    local file first=yes
    sed -n '/^resources:/,$s/^  - //p' manifests/base/kustomization.yaml | while read -r file; do
        [ -n "$first" ] || echo '---'
        first=
        cat "manifests/base/$file"
    done
}

plain() {
    cat <<'TEXT'
# Lanlord: LAN addresses for Services of type LoadBalancer. Written by scripts/render.sh from manifests/base.
#
#   kubectl apply -f lanlord.yaml
#   kubectl create configmap lanlord -n lanlord --from-literal addresses=192.168.1.240-192.168.1.250
#
TEXT
    base
}

k3s() {
    cat <<'TEXT'
# Lanlord for k3s. Written by scripts/render.sh from manifests/base.
#
# k3s/install.sh does all of this, says before what it will do, and finds out how your k3s is started. By hand:
#
# On ONE k3s server, copy this file to /var/lib/rancher/k3s/server/manifests/lanlord.yaml. k3s applies it within 15 seconds, and
# again at each of its starts. It does not copy it to other servers. Keep the name: k3s knows by it what belongs together.
# Then choose free addresses of your LAN (k3s never touches this ConfigMap):
#
#   kubectl create configmap lanlord -n lanlord --from-literal addresses=192.168.1.240-192.168.1.250
#
# k3s brings its own load balancer, ServiceLB. To give all Services to Lanlord, switch it off on EVERY server:
#
#   sudo mkdir -p /etc/rancher/k3s/config.yaml.d
#   printf 'disable+:\n  - servicelb\n' | sudo tee /etc/rancher/k3s/config.yaml.d/90-lanlord.yaml && sudo systemctl restart k3s
#
# To look:      kubectl describe addon lanlord -n kube-system
# To uninstall: remove this file from every server first, then kubectl delete -f lanlord.yaml
#
TEXT
    base
}

# put FILE: writes its input to the file, or compares the two.
put() {
    if [ "$mode" = write ]; then
        cat >"$1"
    elif ! cmp -s - "$1"; then
        echo "render.sh: $1 is not what manifests/base says: run scripts/render.sh" >&2
        return 1
    fi
}

mode=write status=0
case "${1-}" in
'') ;;
--check) mode=check ;;
--help | -h) usage && exit 0 ;;
*)
    usage >&2
    exit 2
    ;;
esac
plain | put manifests/lanlord.yaml || status=1
k3s | put k3s/lanlord.yaml || status=1
exit "$status"
