{{/* Labels of what a release changes: of every object but the ServiceAccount. */}}
{{- define "gists.labels" -}}
{{ include "gists.common" . }}
app.kubernetes.io/component: service
{{- end }}

{{/* Labels of every object. */}}
{{- define "gists.common" -}}
app: {{ .Values.name }}
app.kubernetes.io/version: {{ include "gists.version" . | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{/* What is deployed, as a label's value: the tag, else the chart's appVersion. */}}
{{- define "gists.version" -}}
{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{/* What tells this Deployment's pods from the other version's. */}}
{{- define "gists.selector" -}}
app: {{ .Values.name }}
version: {{ .Values.version }}
{{- end }}

{{/* Objects that only one of the two Deployments' releases may carry are named without the version. */}}
{{- define "gists.deployment" -}}
{{ .Values.name }}{{ if eq .Values.version "canary" }}-canary{{ end }}
{{- end }}

{{- define "gists.image" -}}
{{ .Values.image.repository }}
{{- if .Values.image.digest }}@{{ .Values.image.digest }}{{ else }}:{{ include "gists.version" . }}{{ end }}
{{- end }}

{{/* Named after its content, so that a changed setting is a rolling update and a rollback brings the old ones back. */}}
{{- define "gists.settings" -}}
{{ include "gists.deployment" . | replace "github-gists-api" "github-gists-settings" }}-{{ include "gists.data" . | sha256sum | trunc 10 }}
{{- end }}

{{/* The settings as a ConfigMap wants them: text. */}}
{{- define "gists.data" -}}
{{- $tracing := dict }}
{{- with .Values.tracing }}
{{- if .enabled }}
{{- $tracing = dict "OTEL_SERVICE_NAME" $.Values.name "OTEL_EXPORTER_OTLP_ENDPOINT" .endpoint "OTEL_TRACES_SAMPLER" "parentbased_traceidratio" "OTEL_TRACES_SAMPLER_ARG" .share }}
{{- end }}
{{- end }}
{{- range $name, $value := merge (dict) .Values.settings $tracing }}
{{ $name }}: {{ $value | toString | quote }}
{{- end }}
{{- end }}
