{{/* The variables that come from Secrets, and those of traces. */}}
{{- define "gists.environment" -}}
- name: GITHUB_TOKEN
  valueFrom:
    secretKeyRef:
      name: {{ .Values.tokenSecret }}
      key: GITHUB_TOKEN
      optional: true
# In place of the token: a GitHub App. Either Secret may be missing, and only one of them may be there.
{{- range list "GITHUB_APP_ID" "GITHUB_APP_INSTALLATION_ID" "GITHUB_APP_PRIVATE_KEY" }}
- name: {{ . }}
  valueFrom:
    secretKeyRef:
      name: {{ $.Values.appSecret }}
      key: {{ . }}
      optional: true
{{- end }}
{{- if .Values.tracing.enabled }}
- name: OTEL_RESOURCE_ATTRIBUTES
  value: service.version=$(APP_VERSION),k8s.pod.name=$(POD_NAME)
{{- end }}
{{- end }}

{{/* The beginning of the ConfigMap's name, as in k8s/base. */}}
{{- define "gists.settings" -}}
{{ include "wasi-service.deployment-name" . | replace "github-gists-api" "github-gists-settings" }}
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
{{- $own := include "wasi-service.replicas" . | int }}
{{- $canary := ternary $own 1 (eq .Values.version "canary") }}
{{- $stable := ternary 3 $own (eq .Values.version "canary") }}
{{- if .Values.autoscaling.enabled }}{{ $stable = .Values.autoscaling.maxReplicas }}{{ end }}
{{- $bound = dict "UPSTREAM_CONCURRENCY" (max 1 (min 20 (div 100 (add $stable $canary 2)))) }}
{{- end }}
{{- range $name, $value := merge (dict) .Values.settings $tracing $bound }}
{{ $name }}: {{ $value | toString | quote }}
{{- end }}
{{- end }}
