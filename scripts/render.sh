#!/usr/bin/env bash
# Writes what is made from manifests/base and the overlays: the single files manifests/lanlord.yaml and k3s/lanlord.yaml, which are the
# base's files one after the other, so that the comments stay, and the templates of the Helm chart, which are those files with some lines
# replaced. Edit the base, then run this.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
    cat <<'TEXT'
Usage: scripts/render.sh [--check]

Writes manifests/lanlord.yaml and k3s/lanlord.yaml from manifests/base, and from there and manifests/overlays the files in
manifests/chart/templates that say so in their first line. Takes less than a second.

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
# (where k3s has no --disable among its flags; otherwise add servicelb to those)
#
# To look:      kubectl describe addon lanlord -n kube-system
# To uninstall: remove this file from every server first, then kubectl delete -f lanlord.yaml
#
TEXT
    base
}

# ---------------------------------------------------------------------------------------------------- the chart

# swap LINES: copies its input, with each line of LINES that stands there, and all that is indented deeper below it, replaced by the lines
# after `=>` in LINES. Every one must stand there exactly once. What looks like a template is protected first.
swap() {
    sed 's/{{/{{ "{{" }}/g' | awk -v swaps="$1" '
        BEGIN {
            count = split(swaps, lines, "\n")
            for (i = 1; i <= count; i++) {
                if (sub(/ =>$/, "", lines[i])) { key = lines[i]; by[key] = "" } else if (lines[i] != "") by[key] = by[key] lines[i] "\n"
            }
        }
        {
            match($0, /^ */)
            if (skipping && (RLENGTH > depth || $0 == "")) next
            skipping = 0
        }
        $0 in by { printf "%s", by[$0]; used[$0]++; skipping = 1; depth = RLENGTH; next }
        { print }
        END {
            for (key in by) if (used[key] != 1) {
                printf "render.sh: this line must stand there once, and stands there %d times: %s\n", used[key], key > "/dev/stderr"
                failed = 1
            }
            exit failed
        }' | sed -E 's/^( +)namespace: lanlord$/\1namespace: {{ .Release.Namespace }}/
        s/matchNames: \[lanlord\]/matchNames: [{{ .Release.Namespace }}]/
        s/system:serviceaccount:lanlord:/system:serviceaccount:{{ .Release.Namespace }}:/'
}

NAMESPACE='  name: lanlord =>
  name: {{ .Release.Namespace }}'

DAEMONSET='  updateStrategy: =>
  updateStrategy: {{- toYaml .Values.updateStrategy | nindent 4 }}
        app.kubernetes.io/name: lanlord =>
        app.kubernetes.io/name: lanlord
        {{- with .Values.podLabels }}{{ toYaml . | nindent 8 }}{{ end }}
        kubectl.kubernetes.io/default-container: lanlord =>
        kubectl.kubernetes.io/default-container: lanlord
        {{- with .Values.podAnnotations }}{{ toYaml . | nindent 8 }}{{ end }}
      serviceAccountName: lanlord =>
      serviceAccountName: lanlord
      {{- with .Values.imagePullSecrets }}
      imagePullSecrets: {{- toYaml . | nindent 8 }}
      {{- end }}
      priorityClassName: system-node-critical =>
      priorityClassName: {{ .Values.priorityClassName }}
      nodeSelector: =>
      nodeSelector: {{- toYaml .Values.nodeSelector | nindent 8 }}
      {{- with .Values.affinity }}
      affinity: {{- toYaml . | nindent 8 }}
      {{- end }}
      tolerations: =>
      tolerations: {{- toYaml .Values.tolerations | nindent 8 }}
          image: ghcr.io/lanlord/lanlord:VERSION =>
          {{- with .Values.image }}
          image: {{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
          {{- end }}
          imagePullPolicy: IfNotPresent =>
          imagePullPolicy: {{ .Values.image.pullPolicy }}
          args: [run, --config, "configmap:lanlord/lanlord", --health-socket, /run/lanlord/health.sock] =>
          args:
            - run
            - --config
            - configmap:{{ .Release.Namespace }}/lanlord
            {{- if .Values.crds.enabled }}
            - --config
            - crds:{{ .Values.crds.namespaces | default (list .Release.Namespace "metallb-system") | join "," }}
            {{- end }}
            {{- if ne .Release.Namespace "lanlord" }}
            - --namespace={{ .Release.Namespace }}
            {{- end }}
            {{- with .Values.logLevel }}
            - --log={{ . }}
            {{- end }}
            {{- with .Values.logFormat }}
            - --log-format={{ . }}
            {{- end }}
            {{- with .Values.pageFor }}
            - --page-for={{ . }}
            {{- end }}
            - --health-socket
            - /run/lanlord/health.sock
          resources: =>
          resources: {{- toYaml .Values.resources | nindent 12 }}'

MONITORS='    app.kubernetes.io/name: lanlord =>
    app.kubernetes.io/name: lanlord
    {{- with .Values.prometheus.labels }}{{ toYaml . | nindent 4 }}{{ end }}'

# An uninstalled chart must not take everybody'"'"'s pools along.
crd() {
    echo "  name: $1.metallb.io =>
  name: $1.metallb.io
  annotations:
    helm.sh/resource-policy: keep"
}

# template NAME SWITCH SWAPS FILE: writes templates/NAME.yaml from the file; SWITCH is what has to be true for it, if anything.
template() {
    local text
    text=$(swap "$3" <"manifests/$4") || return 1
    {
        echo "{{- /* Written by scripts/render.sh from manifests/$4. */ -}}"
        [ -z "$2" ] || echo "{{- if $2 }}"
        printf '%s\n' "$text"
        [ -z "$2" ] || echo "{{- end }}"
    } | put "manifests/chart/templates/$1.yaml"
}

chart() {
    local version name status=0
    version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
    template namespace .Values.namespace.create "$NAMESPACE" base/namespace.yaml || status=1
    template serviceaccount '' '' base/serviceaccount.yaml || status=1
    template rbac '' '' base/rbac.yaml || status=1
    template daemonset '' "${DAEMONSET/VERSION/$version}" base/daemonset.yaml || status=1
    template crds-rbac .Values.crds.enabled '' overlays/crds/rbac.yaml || status=1
    for name in bfdprofiles bgpadvertisements bgppeers communities ipaddresspools l2advertisements; do
        template "crds-$name" 'and .Values.crds.enabled .Values.crds.install' "$(crd "$name")" "crds/$name.yaml" || status=1
    done
    for name in services leases; do
        template "hardened-$name" .Values.hardened.enabled '' "overlays/hardened/$name.yaml" || status=1
    done
    template prometheus-podmonitor .Values.prometheus.podMonitor.enabled "$MONITORS" overlays/prometheus/podmonitor.yaml || status=1
    template prometheus-servicemonitor .Values.prometheus.serviceMonitor.enabled "$MONITORS" overlays/prometheus/servicemonitor.yaml || status=1
    template prometheus-service .Values.prometheus.serviceMonitor.enabled '' overlays/prometheus/service.yaml || status=1
    template prometheus-rules .Values.prometheus.rules.enabled "$MONITORS" overlays/prometheus/prometheusrule.yaml || status=1
    template prometheus-dashboard .Values.prometheus.dashboard.enabled '' overlays/prometheus/dashboard.yaml || status=1
    return "$status"
}

# put FILE: writes its input to the file, or compares the two.
put() {
    if [ "$mode" = write ]; then
        cat >"$1"
    elif ! cmp -s - "$1"; then
        echo "render.sh: $1 is not what it is made from: run scripts/render.sh" >&2
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
chart || status=1
exit "$status"
