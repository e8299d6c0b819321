{{- define "wasi-service.service" -}}
{{- with .chart }}
{{- if eq .Values.version "stable" }}
apiVersion: v1
kind: Service
metadata:
  name: {{ include "wasi-service.name" . }}
  namespace: {{ .Release.Namespace }}
  labels:
    {{- include "wasi-service.labels" . | nindent 4 }}
spec:
  type: ClusterIP
  selector:
    app: {{ include "wasi-service.name" . }}
  ports:
    - name: http
      port: {{ (.Values.service).port | default 80 }}
      targetPort: http
      appProtocol: http
{{- end }}
{{- end }}
{{- end }}
