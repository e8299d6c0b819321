{{/* Labels of the objects that a release changes: all but the ServiceAccount. */}}
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

{{/* The deployed version: the image's tag, or the chart's appVersion. */}}
{{- define "gists.version" -}}
{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{/* Selector of this Deployment's pods. The label `version` distinguishes stable and canary. */}}
{{- define "gists.selector" -}}
app: {{ .Values.name }}
version: {{ .Values.version }}
{{- end }}

{{/* Name of the Deployment and its HorizontalPodAutoscaler. Objects that stable and canary share have the plain name. */}}
{{- define "gists.deployment" -}}
{{ .Values.name }}{{ if eq .Values.version "canary" }}-canary{{ end }}
{{- end }}

{{/* Whether a HorizontalPodAutoscaler sets the number of pods. Not for a canary, whose number decides what it gets: an ingress splits the
     traffic by weight, so that more pods would only be idle. */}}
{{- define "gists.scaled" -}}
{{- if and .Values.autoscaling.enabled (eq .Values.version "stable") }}true{{ end }}
{{- end }}

{{/* Number of pods without an autoscaler. */}}
{{- define "gists.replicas" -}}
{{- if kindIs "invalid" .Values.replicas }}{{ ternary 1 3 (eq .Values.version "canary") }}{{ else }}{{ .Values.replicas }}{{ end }}
{{- end }}

{{/* The least number of pods. */}}
{{- define "gists.least" -}}
{{- if include "gists.scaled" . }}{{ .Values.autoscaling.minReplicas }}{{ else }}{{ include "gists.replicas" . }}{{ end }}
{{- end }}

{{- define "gists.image" -}}
{{ .Values.image.repository }}
{{- if .Values.image.digest }}@{{ .Values.image.digest }}{{ else }}:{{ include "gists.version" . }}{{ end }}
{{- end }}

{{/* Name of the ConfigMap, with a hash of its content: a changed setting causes a rolling update, and a rollback restores the old settings. */}}
{{- define "gists.settings" -}}
{{ include "gists.deployment" . | replace "github-gists-api" "github-gists-settings" }}-{{ include "gists.data" . | sha256sum | trunc 10 }}
{{- end }}

{{/* The ConfigMap's data: all settings as text. */}}
{{- define "gists.data" -}}
{{- $tracing := dict }}
{{- with .Values.tracing }}
{{- if .enabled }}
{{- $tracing = dict "OTEL_SERVICE_NAME" $.Values.name "OTEL_EXPORTER_OTLP_ENDPOINT" .endpoint "OTEL_TRACES_SAMPLER" "parentbased_traceidratio" "OTEL_TRACES_SAMPLER_ARG" .share }}
{{- end }}
{{- end }}
{{- /* GitHub allows 100 requests at once for all pods. Without a shared store, each pod counts its own: divide 100 by the
       pods that there can be: stable and canary, and one more of each during a rolling update. A release knows the number of
       the other version by its default only. */}}
{{- $bound := dict }}
{{- if not .Values.settings.CACHE_STORE }}
{{- $own := include "gists.replicas" . | int }}
{{- $canary := ternary $own 1 (eq .Values.version "canary") }}
{{- $stable := ternary 3 $own (eq .Values.version "canary") }}
{{- if .Values.autoscaling.enabled }}{{ $stable = .Values.autoscaling.maxReplicas }}{{ end }}
{{- $bound = dict "UPSTREAM_CONCURRENCY" (max 1 (min 20 (div 100 (add $stable $canary 2)))) }}
{{- end }}
{{- range $name, $value := merge (dict) .Values.settings $tracing $bound }}
{{ $name }}: {{ $value | toString | quote }}
{{- end }}
{{- end }}
