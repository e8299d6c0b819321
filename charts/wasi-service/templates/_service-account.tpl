{{- define "wasi-service.service-account" -}}
{{- with .chart }}
{{- if eq .Values.version "stable" }}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ include "wasi-service.name" . }}
  namespace: {{ .Release.Namespace }}
  labels:
    {{- include "wasi-service.common" . | nindent 4 }}
  {{- with (.Values.serviceAccount).annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
automountServiceAccountToken: false
{{- end }}
{{- end }}
{{- end }}
