{{/* The templates of this file take the context of the chart that calls them. The other files take a dict:

     chart        that context
     environment  optional: further entries of the container's `env`, YAML
     data         optional: the ConfigMap's data, YAML; by default `wasi-service.data`
     settings     optional: the beginning of the ConfigMap's name; by default the Deployment's name and `-settings` */}}

{{/* Name of the objects, value of the label `app`, and name of the container. */}}
{{- define "wasi-service.name" -}}
{{- $name := .Values.name | default (printf "%s-%s" .Release.Name .Chart.Name) }}
{{- if gt (len $name) 53 }}
{{- fail (printf "the name %s has more than 53 characters, and the names of objects are longer: shorten the name of the release, or set `name`" $name) }}
{{- end }}
{{- $name }}
{{- end }}

{{/* Labels of the objects that a release changes: all but the ServiceAccount. */}}
{{- define "wasi-service.labels" -}}
{{ include "wasi-service.common" . }}
app.kubernetes.io/component: service
{{- end }}

{{/* Labels of every object. */}}
{{- define "wasi-service.common" -}}
app: {{ include "wasi-service.name" . }}
app.kubernetes.io/version: {{ include "wasi-service.version" . | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{/* The deployed version: the image's tag, or the chart's appVersion. */}}
{{- define "wasi-service.version" -}}
{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{/* Selector of this Deployment's pods. The label `version` distinguishes stable and canary. */}}
{{- define "wasi-service.selector" -}}
app: {{ include "wasi-service.name" . }}
version: {{ .Values.version }}
{{- end }}

{{/* Name of the Deployment and its HorizontalPodAutoscaler. Objects that stable and canary share have the plain name. */}}
{{- define "wasi-service.deployment-name" -}}
{{ include "wasi-service.name" . }}{{ if eq .Values.version "canary" }}-canary{{ end }}
{{- end }}

{{/* Whether a HorizontalPodAutoscaler sets the number of pods. Not for a canary, whose number decides what it gets: an ingress splits the
     traffic by weight, so that more pods would only be idle. */}}
{{- define "wasi-service.scaled" -}}
{{- if and .Values.autoscaling.enabled (eq .Values.version "stable") }}true{{ end }}
{{- end }}

{{/* Number of pods without an autoscaler. */}}
{{- define "wasi-service.replicas" -}}
{{- if kindIs "invalid" .Values.replicas }}{{ ternary 1 3 (eq .Values.version "canary") }}{{ else }}{{ .Values.replicas }}{{ end }}
{{- end }}

{{/* The least number of pods. */}}
{{- define "wasi-service.least" -}}
{{- if include "wasi-service.scaled" . }}{{ .Values.autoscaling.minReplicas }}{{ else }}{{ include "wasi-service.replicas" . }}{{ end }}
{{- end }}

{{- define "wasi-service.image" -}}
{{ .Values.image.repository }}
{{- if .Values.image.digest }}@{{ .Values.image.digest }}{{ else }}:{{ include "wasi-service.version" . }}{{ end }}
{{- end }}

{{/* The settings as text. `{{ }}` in a setting is a template: a setting may name another service of the release. */}}
{{- define "wasi-service.data" -}}
{{- range $name, $value := .Values.settings }}
{{ $name }}: {{ tpl ($value | toString) $ | quote }}
{{- end }}
{{- end }}
