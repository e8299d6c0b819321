{{/* In a mesh: mutual TLS only, and requests only of the callers. Nothing without `mesh.enabled`. */}}
{{- define "wasi-service.mesh" -}}
{{- with .chart }}
{{- if and (.Values.mesh).enabled (eq .Values.version "stable") }}
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata:
  name: {{ include "wasi-service.name" . }}
  namespace: {{ .Release.Namespace }}
  labels:
    {{- include "wasi-service.common" . | nindent 4 }}
spec:
  selector:
    matchLabels:
      app: {{ include "wasi-service.name" . }}
  mtls:
    mode: STRICT
---
# Without rules, if there are no callers: then every request is denied.
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: {{ include "wasi-service.name" . }}
  namespace: {{ .Release.Namespace }}
  labels:
    {{- include "wasi-service.common" . | nindent 4 }}
spec:
  selector:
    matchLabels:
      app: {{ include "wasi-service.name" . }}
  action: ALLOW
  {{- with .Values.mesh.callers }}
  rules:
    - from:
        - source:
            principals:
              {{- range . }}
              - {{ tpl . $.chart | quote }}
              {{- end }}
      to:
        - operation:
            # Not 9090: probes and scrapes go through the sidecar's own ports.
            ports:
              - "8080"
  {{- end }}
{{- end }}
{{- end }}
{{- end }}
