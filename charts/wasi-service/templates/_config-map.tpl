{{- define "wasi-service.settings-data" -}}
{{ .data | default (include "wasi-service.data" .chart) | trim }}
{{- end }}

{{/* Name of the ConfigMap, with a hash of its content: a changed setting causes a rolling update, and a rollback restores the old settings. */}}
{{- define "wasi-service.settings-name" -}}
{{ .settings | default (printf "%s-settings" (include "wasi-service.deployment-name" .chart)) }}-{{ include "wasi-service.settings-data" . | sha256sum | trunc 10 }}
{{- end }}

{{- define "wasi-service.config-map" -}}
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ include "wasi-service.settings-name" . }}
  namespace: {{ .chart.Release.Namespace }}
  labels:
    {{- include "wasi-service.labels" .chart | nindent 4 }}
  annotations:
    # A hook, so that Helm does not delete the old ConfigMap: pods of the previous revision use it during a rolling update and after
    # `kubectl rollout undo`. With `helm.sh/resource-policy: keep` instead, Helm before 3.22 cannot roll back to settings that it has kept.
    helm.sh/hook: pre-install,pre-upgrade,pre-rollback
    helm.sh/hook-delete-policy: before-hook-creation
immutable: true
data:
  {{- include "wasi-service.settings-data" . | nindent 2 }}
{{- end }}
