{{- define "wasi-service.pod-disruption-budget" -}}
{{- with .chart }}
{{- if eq .Values.version "stable" }}
{{- $pods := include "wasi-service.least" . | int }}
{{- $wanted := .Values.podDisruptionBudget.minAvailable }}
{{- $kept := $wanted | toString | trimSuffix "%" | int }}
{{- if kindIs "string" $wanted }}{{ $kept = divf (mulf $kept $pods) 100 | ceil | int }}{{ end }}
{{- if and (gt $pods 0) (ge $kept $pods) }}
{{- fail (printf "podDisruptionBudget.minAvailable keeps %d of at least %d pods, so that no node can be drained: raise %s" $kept $pods (ternary "autoscaling.minReplicas" "replicas" .Values.autoscaling.enabled)) }}
{{- end }}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "wasi-service.name" . }}
  namespace: {{ .Release.Namespace }}
  labels:
    {{- include "wasi-service.labels" . | nindent 4 }}
spec:
  minAvailable: {{ .Values.podDisruptionBudget.minAvailable }}
  selector:
    matchLabels:
      app: {{ include "wasi-service.name" . }}
  unhealthyPodEvictionPolicy: AlwaysAllow
{{- end }}
{{- end }}
{{- end }}
